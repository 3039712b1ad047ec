import { Link } from "@tanstack/react-router";
import type { Run } from "../api/calls";
import { Status } from "./Status";
import { type Column, Table } from "./Table";
import { Ago, Time, Took } from "./Time";
import { count } from "./time";

const KINDS: Record<string, string> = {
  schedule: "scheduled",
  manual: "triggered",
  daemon: "daemon",
  rerun: "rerun",
  backfill: "backfill",
  shadow: "shadow of a rewind",
  child: "child",
  range: "range",
};

export function kindName(kind: string): string {
  return KINDS[kind] ?? kind;
}

/** On a phone, beside the time: a line of its own would be mostly empty. */
function TookToo({ run }: { run: Run }) {
  if (!run.started_at) return null;
  return (
    <span className="narrow-only">
      {" · "}
      <Took span={run} />
    </span>
  );
}

const STATUS: Column<Run> = {
  title: "Status",
  keep: true,
  narrow: "lead",
  cell: (run) => <Status status={run.status} />,
};
const JOB: Column<Repeated> = {
  title: "Job",
  narrow: "title",
  grow: true,
  cell: (run) => (
    <>
      <Link to="/runs/$runId" params={{ runId: run.run_id }} className="name-cell">
        {run.job}
      </Link>{" "}
      <span className="tag">{run.env}</span>
      {run.repeats && <span className="muted"> and {count(run.repeats)} more like it</span>}
      {run.reason && (
        <div className="muted clamp" title={run.reason}>
          {run.reason}
        </div>
      )}
    </>
  ),
};
const STARTED: Column<Run> = {
  title: "Started",
  keep: true,
  narrow: "corner",
  cell: (run) => (
    <>
      <Time at={run.started_at ?? run.due_at ?? run.created_at} />
      {run.range_to && (
        <div className="muted">
          to <Time at={run.range_to} />: {count(run.range_count ?? 1)} due times
        </div>
      )}
      <TookToo run={run} />
    </>
  ),
};
const WHEN: Column<Run> = {
  title: "When",
  keep: true,
  narrow: "corner",
  cell: (run) => (
    <>
      <Ago at={run.ended_at ?? run.started_at ?? run.created_at} />
      <TookToo run={run} />
    </>
  ),
};
const TOOK: Column<Run> = { title: "Took", keep: true, narrow: "hide", cell: (run) => <Took span={run} /> };
const VERSION: Column<Run> = {
  title: "Version",
  narrow: "hide",
  cell: (run) => (
    <span className="muted mono version" title={`${run.package_name} ${run.package_version}`}>
      {run.package_version}
    </span>
  ),
};
const WORKER: Column<Run> = {
  title: "Worker",
  narrow: "hide",
  keep: true,
  cell: (run) => run.worker ?? <span className="muted">–</span>,
};
const KIND: Column<Run> = {
  title: "Kind",
  narrow: "hide",
  keep: true,
  cell: (run) => (
    <span className="muted">
      {kindName(run.kind)}
      {run.attempt > 1 && ` · attempt ${run.attempt}`}
    </span>
  ),
};

export type Repeated = Run & { repeats?: number };

/** Runs next to each other that ended alike, as one with a count: an outage must not hide everything else. */
export function collapsed(runs: readonly Run[]): Repeated[] {
  const found: Repeated[] = [];
  for (const run of runs) {
    const last = found.find((each) => each.job === run.job && each.env === run.env);
    if (last && last.status === run.status && last.reason === run.reason) last.repeats = (last.repeats ?? 0) + 1;
    else found.push({ ...run });
  }
  return found;
}

export interface Marks {
  marked: ReadonlySet<string>;
  mark: (runId: string, on: boolean) => void;
}

/** With the status: on a phone both are the beginning of a card. */
function markedStatus({ marked, mark }: Marks): Column<Run> {
  return {
    ...STATUS,
    cell: (run) => (
      <span className="marked">
        <input
          type="checkbox"
          className="mark"
          aria-label={`Mark the run of ${run.job} in ${run.env}, ${run.run_id.slice(0, 8)}`}
          checked={marked.has(run.run_id)}
          onChange={(event) => mark(run.run_id, event.target.checked)}
        />
        <Status status={run.status} />
      </span>
    ),
  };
}

interface RunTableProps {
  label: string;
  runs: readonly Repeated[];
  brief?: boolean;
  /** Rows can be marked. */
  marks?: Marks | undefined;
}

export function RunTable({ label, runs, brief, marks }: RunTableProps) {
  const first = marks ? markedStatus(marks) : STATUS;
  const columns = brief ? [STATUS, JOB, WHEN, TOOK] : [first, JOB, STARTED, TOOK, KIND, WORKER, VERSION];
  return <Table label={label} columns={columns} rows={runs} rowKey={(run) => run.run_id} />;
}
