import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, useNavigate, useParams, useSearch } from "@tanstack/react-router";
import { useCallback, useMemo } from "react";
import type { Attempt, Run } from "../api/calls";
import { runQuery, runsQuery } from "../api/queries";
import type { LogFilter } from "../logs/filter";
import { RunLogView } from "../logs/RunLogView";
import { Icon } from "../ui/Icon";
import { PageHead } from "../ui/Page";
import { Fault, Labels, Note, Segments, Skeleton } from "../ui/parts";
import { RunActions } from "../ui/RunActions";
import { RunHistory } from "../ui/RunHistory";
import { kindName } from "../ui/RunTable";
import { Status, toneOf } from "../ui/Status";
import { Ago, Time, Took } from "../ui/Time";
import { count, duration } from "../ui/time";

export function RunPage() {
  const { runId } = useParams({ from: "/shell/runs/$runId" });
  const query = useQuery(runQuery(runId));
  if (query.error && !query.data) return <Fault error={query.error} retry={query.refetch} />;
  if (!query.data) {
    return (
      <div className="card">
        <Skeleton rows={6} />
      </div>
    );
  }
  return <Details run={query.data} />;
}

function Details({ run }: { run: Run }) {
  const search = useSearch({ from: "/shell/runs/$runId" });
  const navigate = useNavigate({ from: "/runs/$runId" });
  const queries = useQueryClient();
  const attempts = (run.attempts ?? []).filter((attempt) => attempt.started_at ?? attempt.attempt);
  const newest = attempts[attempts.length - 1]?.grant ?? 1;
  const grant = search.grant ?? newest;
  const { q, level, stream } = search;
  const filter = useMemo<LogFilter>(() => ({ q, level, stream }), [q, level, stream]);

  // One step: a second navigation before the first has landed would undo it.
  const pickLine = useCallback(
    (line: number) =>
      void navigate({ search: (before) => ({ ...before, q: undefined, level: undefined, stream: undefined, line }) }),
    [navigate],
  );
  const setFilter = useCallback(
    (next: LogFilter) =>
      void navigate({
        search: (before) => ({ ...before, q: next.q, level: next.level, stream: next.stream }),
        replace: true,
      }),
    [navigate],
  );
  const onEnd = useCallback(
    (ended: Run) => {
      queries.setQueryData(runQuery(run.run_id).queryKey, (before) =>
        before && before.rev > ended.rev ? before : { ...before, ...ended },
      );
      void queries.invalidateQueries({ queryKey: ["run", run.run_id] });
    },
    [queries, run.run_id],
  );

  return (
    <>
      <PageHead
        name={`${run.job} · ${run.status.toLowerCase()}`}
        crumbs={
          <>
            <Link to="/runs">Runs</Link>
            <Icon name="chevron" size={12} />
            <span className="mono">{run.run_id}</span>
          </>
        }
        title={
          <span className="row">
            <Link to="/job/$" params={{ _splat: run.job }} style={{ color: "inherit" }}>
              {run.job}
            </Link>
            <span className="tag">{run.env}</span>
            <span aria-live="polite">
              <Status status={run.status} />
            </span>
          </span>
        }
      >
        <RunActions run={run} />
      </PageHead>
      {run.reason && <Note tone={toneOf(run.status)}>{run.reason}</Note>}
      <Facts run={run} />
      <div className="spread">
        <Segments
          label="What to show"
          value={search.tab ?? "logs"}
          options={[
            ["logs", "Log"],
            ["history", "History"],
          ]}
          onChange={(tab) =>
            void navigate({
              search: (before) => ({ ...before, tab: tab === "history" ? tab : undefined }),
              replace: true,
            })
          }
        />
        {attempts.length > 1 && (
          <Attempts
            attempts={attempts}
            grant={grant}
            onPick={(picked) => void navigate({ search: { grant: picked } })}
          />
        )}
      </div>
      {search.tab === "history" ? (
        <RunHistory runId={run.run_id} />
      ) : (
        <div className="run-log">
          <RunLogView
            key={`${run.run_id}/${grant}`}
            {...{ run, grant, filter, onEnd }}
            line={search.line}
            onPick={pickLine}
            onFilter={setFilter}
          />
        </div>
      )}
    </>
  );
}

function Facts({ run }: { run: Run }) {
  const late =
    run.due_at && run.started_at
      ? (new Date(run.started_at).getTime() - new Date(run.due_at).getTime()) / 1000
      : undefined;
  return (
    <section className="card" aria-label="Facts">
      <dl className="facts">
        <Fact name="Due">
          <Time at={run.due_at} empty={run.requested_by ? `asked for by ${run.requested_by}` : "at once"} />
          {run.range_to && (
            <>
              {" "}
              to <Time at={run.range_to} />, {count(run.range_count ?? 1)} due times
            </>
          )}
        </Fact>
        <Fact name="Started">
          {run.started_at ? (
            <Time at={run.started_at} />
          ) : run.fire_at && !run.ended_at ? (
            <Ago at={run.fire_at} />
          ) : (
            <Time at={undefined} />
          )}
          {late !== undefined && late >= 0 && <span className="muted"> +{duration(late)}</span>}
        </Fact>
        <Fact name="Ended">
          <Time at={run.ended_at} />
        </Fact>
        <Fact name="Took">
          <Took span={run} />
        </Fact>
        <Fact name="Exit">{exitOf(run)}</Fact>
        <Fact name="Package">
          {run.package_name} <span className="muted">{run.package_version}</span>
        </Fact>
        <Fact name="Worker">{run.worker ?? "–"}</Fact>
        <Fact name="Kind">
          {kindName(run.kind)}
          {typeof run.slot === "number" && (
            <span className="muted">
              {" "}
              · slot {run.slot}, generation {run.generation}
            </span>
          )}
          {run.rerun && <span className="muted"> · re-run</span>}
        </Fact>
        {run.parent_run_id && (
          <Fact name={run.kind === "rerun" ? "Re-run of" : run.kind === "child" ? "After" : "Parent"}>
            <Link to="/runs/$runId" params={{ runId: run.parent_run_id }} className="mono">
              {run.parent_run_id.slice(0, 8)}
            </Link>
          </Fact>
        )}
        <Children run={run} />
        {Object.keys(run.labels ?? {}).length > 0 && (
          <Fact name="Labels">
            <Labels labels={run.labels} />
          </Fact>
        )}
      </dl>
    </section>
  );
}

/** The runs that came of this one: its successors and reruns. */
function Children({ run }: { run: Run }) {
  const children = useQuery(runsQuery({ parent: run.run_id, limit: 20 })).data?.items ?? [];
  if (!children.length) return null;
  return (
    <Fact name="Followed by">
      {children.map((child) => (
        <span key={child.run_id} className="row">
          <Link to="/runs/$runId" params={{ runId: child.run_id }}>
            {child.job}
          </Link>
          {child.rerun && <span className="muted">re-run</span>}
          <Status status={child.status} />
        </span>
      ))}
    </Fact>
  );
}

function exitOf(run: Run): string {
  if (typeof run.signal === "number" && run.signal > 0) return `signal ${run.signal}`;
  return typeof run.exit_code === "number" ? `code ${run.exit_code}` : "–";
}

function Fact({ name, children }: { name: string; children: React.ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function Attempts({
  attempts,
  grant,
  onPick,
}: {
  attempts: readonly Attempt[];
  grant: number;
  onPick: (grant: number) => void;
}) {
  return (
    <fieldset className="attempts" aria-label="Attempts">
      {attempts.map((attempt) => (
        <button
          key={attempt.grant}
          type="button"
          className="attempt"
          aria-pressed={attempt.grant === grant}
          onClick={() => onPick(attempt.grant)}
          title={[attempt.worker, attempt.reason].filter(Boolean).join(" · ")}
        >
          <Status status={attempt.status} /> Attempt {attempt.attempt ?? attempt.grant} · <Took span={attempt} />
        </button>
      ))}
    </fieldset>
  );
}
