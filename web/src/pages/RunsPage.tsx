import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { useState } from "react";
import { environmentsQuery, jobsQuery, type RunFilter, runsQuery } from "../api/queries";
import { useMayWrite } from "../app/useMayWrite";
import { SearchBox } from "../logs/LogToolbar";
import { BulkActions } from "../ui/BulkActions";
import { PageHead } from "../ui/Page";
import { Pick } from "../ui/Pick";
import { Command, Empty, Fault, Skeleton } from "../ui/parts";
import { RunTable } from "../ui/RunTable";
import { STATUSES, statusName } from "../ui/Status";

const GROUPS = [
  ["RUNNING,LAUNCHING,RETRYING", "Running now"],
  ["PENDING,CLAIMED", "Waiting"],
  ["FAILED,LOST,KILLED,MISSED", "Went wrong"],
] as const;

export function RunsPage() {
  const search = useSearch({ from: "/shell/runs" });
  const navigate = useNavigate({ from: "/runs" });
  const runs = useQuery(runsQuery({ ...search, limit: 50 }));
  const jobs = useQuery(jobsQuery).data?.items ?? [];
  const environments = useQuery(environmentsQuery).data?.items ?? [];
  // Another filter begins at the newest run again.
  const set = (change: Partial<RunFilter>) => void navigate({ search: { ...search, cursor: undefined, ...change } });
  const filtered = Boolean(search.job || search.env || search.status || search.kind || search.backfill || search.q);
  const mayWrite = useMayWrite();
  const [marked, setMarked] = useState<ReadonlySet<string>>(new Set());
  const mark = (runId: string, on: boolean) => {
    const next = new Set(marked);
    if (on) next.add(runId);
    else next.delete(runId);
    setMarked(next);
  };
  const items = runs.data?.items ?? [];
  const chosen = items.filter((run) => marked.has(run.run_id));
  const single = STATUSES.map((status) => [status, statusName(status)] as const);
  return (
    <>
      <PageHead title="Runs" />
      <search className="filters">
        <SearchBox label="Search runs" value={search.q ?? ""} onChange={(q) => set({ q: q || undefined })} />
        <Pick
          label="Job"
          value={search.job}
          all="All jobs"
          options={jobs.map((job) => [job.name, job.name])}
          onChange={(job) => set({ job })}
        />
        <Pick
          label="Environment"
          value={search.env}
          all="All environments"
          options={environments.map((env) => [env.name, env.name])}
          onChange={(env) => set({ env })}
        />
        <Pick
          label="Status"
          value={search.status}
          all="Any status"
          options={[...GROUPS, ...single]}
          onChange={(status) => set({ status })}
        />
        {filtered && (
          <button type="button" className="button quiet" onClick={() => void navigate({ search: {} })}>
            Clear
          </button>
        )}
      </search>
      {mayWrite && items.length > 0 && (
        <div className="row">
          {chosen.length > 0 ? (
            <BulkActions runs={chosen} onDone={() => setMarked(new Set())} />
          ) : (
            <button
              type="button"
              className="button quiet"
              onClick={() => setMarked(new Set(items.map((run) => run.run_id)))}
            >
              Mark all {items.length}
            </button>
          )}
        </div>
      )}
      {search.backfill && (
        <div className="row">
          <span className="muted">Runs of one backfill</span>
          <Link to="/backfills" className="button">
            All backfills
          </Link>
        </div>
      )}
      <section className="card" aria-label="Runs" aria-busy={runs.isFetching}>
        {runs.error ? (
          <div className="body">
            <Fault error={runs.error} retry={runs.refetch} />
          </div>
        ) : !runs.data ? (
          <Skeleton rows={8} />
        ) : runs.data.items.length ? (
          <RunTable label="Runs" runs={items} marks={mayWrite ? { marked, mark } : undefined} />
        ) : (
          <NoRuns filtered={filtered} />
        )}
      </section>
      <nav className="row" aria-label="Pages of the list" style={{ justifyContent: "flex-end" }}>
        {search.cursor && (
          <button type="button" className="button" onClick={() => set({})}>
            Newest
          </button>
        )}
        {runs.data?.next && (
          <button type="button" className="button" onClick={() => set({ cursor: runs.data.next ?? undefined })}>
            Older
          </button>
        )}
      </nav>
    </>
  );
}

function NoRuns({ filtered }: { filtered: boolean }) {
  if (filtered) {
    return (
      <Empty icon="search" title="No run passes this filter">
        <p>Clear a filter, or look at all runs.</p>
      </Empty>
    );
  }
  return (
    <Empty icon="play" title="Nothing has run yet">
      <p>Deploy a script and its runs show here as they happen:</p>
      <Command>kirby deploy hello.py --job hello --env prod --every 10s</Command>
    </Empty>
  );
}
