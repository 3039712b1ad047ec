import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import type { ContextSummary, Job, Run } from "../api/calls";
import { jobsQuery, runsQuery } from "../api/queries";
import { useMayWrite } from "../app/useMayWrite";
import { SearchBox } from "../logs/LogToolbar";
import { ContextState } from "../ui/ContextState";
import { Icon } from "../ui/Icon";
import { PageHead } from "../ui/Page";
import { Command, Empty, Fault, Labels, Skeleton } from "../ui/parts";
import { Strip } from "../ui/Strip";
import { type Column, Table } from "../ui/Table";
import { Ago } from "../ui/Time";

export function JobsPage() {
  const jobs = useQuery(jobsQuery);
  const runs = useQuery(runsQuery({ limit: 500 })).data?.items ?? [];
  const [q, setQ] = useState("");
  const mayWrite = useMayWrite();
  const wanted = q.toLowerCase();
  const shown =
    jobs.data?.items.filter((job) =>
      `${job.name} ${job.namespace} ${job.description}`.toLowerCase().includes(wanted),
    ) ?? [];
  return (
    <>
      <PageHead title="Jobs">
        {mayWrite && (
          <Link to="/deploy" className="button primary">
            <Icon name="upload" /> Deploy
          </Link>
        )}
      </PageHead>
      <search className="filters">
        <SearchBox label="Search jobs" value={q} onChange={setQ} />
      </search>
      <section className="card" aria-label="Jobs">
        {jobs.error && !jobs.data ? (
          <div className="body">
            <Fault error={jobs.error} retry={jobs.refetch} />
          </div>
        ) : !jobs.data ? (
          <Skeleton rows={6} />
        ) : shown.length ? (
          <Table label="Jobs" columns={columns(runs)} rows={shown} rowKey={(job) => job.id} />
        ) : q ? (
          <Empty icon="search" title={`No job is called like “${q}”`} />
        ) : (
          <Empty icon="box" title="There is no job yet">
            <p>A job runs one script, on schedule or as a daemon, in one or more environments:</p>
            <Command>kirby deploy hello.py --job hello --env prod --every 10s</Command>
          </Empty>
        )}
      </section>
    </>
  );
}

function columns(runs: readonly Run[]): Column<Job>[] {
  return [
    {
      title: "Job",
      narrow: "title",
      cell: (job) => (
        <>
          <Link to="/job/$" params={{ _splat: job.name }} className="name-cell">
            {job.name}
          </Link>
          {job.description && <div className="muted clamp">{job.description}</div>}
        </>
      ),
    },
    { title: "Type", keep: true, narrow: "hide", cell: (job) => job.type },
    {
      title: "Environments",
      narrow: "wide",
      cell: (job) => (
        <div className="stack" style={{ gap: 6 }}>
          {(job.contexts ?? []).map((context) => (
            <Environment key={context.id} context={context} />
          ))}
        </div>
      ),
    },
    { title: "Recent runs", keep: true, cell: (job) => <Strip runs={runs.filter((run) => run.job === job.name)} /> },
    {
      title: "Next",
      keep: true,
      cell: (job) => <Ago at={nextOf(job, runs)} empty={job.type === "daemon" ? "always on" : "–"} />,
    },
    {
      title: "Namespace",
      narrow: "hide",
      cell: (job) => (
        <span className="row" style={{ gap: 4 }}>
          <span className="muted">{job.namespace}</span>
          <Labels labels={job.labels} />
        </span>
      ),
    },
  ];
}

/** The first due time to come: of a row that waits, else the one that the scheduler will write next. */
function nextOf(job: Job, runs: readonly Run[]): string | undefined {
  const waiting = runs
    .filter((run) => run.job === job.name && !run.started_at && !run.ended_at)
    .map((run) => run.due_at);
  const later = (job.contexts ?? []).map((context) => context.next_due_at);
  return [...waiting, ...later].filter((at): at is string => Boolean(at)).sort()[0];
}

function Environment({ context }: { context: ContextSummary }) {
  return (
    <span className="row" style={{ gap: 6 }}>
      <span className="tag">{context.env}</span>
      <span className="muted mono">{context.script?.package_version}</span>
      <ContextState context={context} quiet />
    </span>
  );
}
