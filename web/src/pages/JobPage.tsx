import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, useNavigate, useParams } from "@tanstack/react-router";
import { useState } from "react";
import { type Context, type Job, triggerRun, updateContext } from "../api/calls";
import { sentence } from "../api/problem";
import { contextsQuery, jobQuery, runsQuery } from "../api/queries";
import { useMayWrite } from "../app/useMayWrite";
import { JobEditor } from "../forms/JobEditor";
import { TriggerDialog } from "../forms/TriggerDialog";
import { ActionDialog } from "../ui/ActionDialog";
import { ContextState } from "../ui/ContextState";
import { DueTimes } from "../ui/DueTimes";
import { Icon } from "../ui/Icon";
import { PageHead } from "../ui/Page";
import { PauseJob } from "../ui/PauseJob";
import { Empty, Fault, Labels, Note, Skeleton } from "../ui/parts";
import { Revisions } from "../ui/Revisions";
import { RunTable } from "../ui/RunTable";
import { Strip } from "../ui/Strip";
import { say } from "../ui/toasts";

export function JobPage() {
  const { _splat: name = "" } = useParams({ from: "/shell/job/$" });
  const query = useQuery(jobQuery(name));
  if (query.error && !query.data) return <Fault error={query.error} retry={query.refetch} />;
  if (!query.data) {
    return (
      <div className="card">
        <Skeleton rows={6} />
      </div>
    );
  }
  return <Details job={query.data} />;
}

function Details({ job }: { job: Job }) {
  const mayWrite = useMayWrite();
  const [dialog, setDialog] = useState<"edit" | "history">();
  const runs = useQuery(runsQuery({ job: job.name, limit: 25 }));
  const query = useQuery(contextsQuery(job.name));
  const contexts = query.data?.items;
  const close = () => setDialog(undefined);
  return (
    <>
      <PageHead
        name={job.name}
        crumbs={
          <>
            <Link to="/jobs">Jobs</Link>
            <Icon name="chevron" size={12} />
            {job.namespace}
          </>
        }
        title={
          <span className="row">
            {job.name}
            <span className="tag">{job.type}</span>
            <Labels labels={job.labels} />
          </span>
        }
        about={job.description}
      >
        <button type="button" className="button" onClick={() => setDialog("history")}>
          <Icon name="history" /> History
        </button>
        {mayWrite && (
          <>
            <PauseJob job={job} />
            <button type="button" className="button" onClick={() => setDialog("edit")}>
              <Icon name="edit" /> Edit
            </button>
            <Link to="/deploy" search={{ job: job.name }} className="button">
              <Icon name="upload" /> New version
            </Link>
          </>
        )}
      </PageHead>
      {job.paused && (
        <Note tone="warn" icon="pause">
          Paused everywhere{job.paused_by && ` by ${job.paused_by}`}
          {job.pause_reason && `: ${job.pause_reason}`}
        </Note>
      )}
      <Neighbours job={job} />
      <div className="contexts">
        {!contexts ? (
          <div className="card">
            <Skeleton />
          </div>
        ) : contexts.length ? (
          contexts.map((context) => <ContextCard key={context.id} job={job} context={context} />)
        ) : (
          <div className="card">
            <Empty icon="globe" title="This job runs nowhere">
              <p>Deploy a package for it into an environment.</p>
            </Empty>
          </div>
        )}
      </div>
      <section className="card" aria-label="Recent runs">
        <header>
          <h2>Recent runs</h2>
          <Link to="/runs" search={{ job: job.name }}>
            All
          </Link>
        </header>
        {!runs.data ? (
          <Skeleton />
        ) : runs.data.items.length ? (
          <RunTable label="Recent runs" runs={runs.data.items.slice(0, 15)} />
        ) : (
          <Empty icon="play" title="It has not run yet" />
        )}
      </section>
      {dialog === "edit" && <JobEditor job={job} onClose={close} />}
      {dialog === "history" && <Revisions kind="jobs" reference={job.id} title={job.name} onClose={close} />}
    </>
  );
}

/** What it comes after, and what comes after it. */
function Neighbours({ job }: { job: Job }) {
  const rows = [
    { title: "Runs after", jobs: job.after ?? [] },
    { title: "Followed by", jobs: job.successors ?? [] },
  ].filter((row) => row.jobs.length);
  if (!rows.length) return null;
  return (
    <section className="card" aria-label="Neighbours">
      <dl className="facts">
        {rows.map((row) => (
          <div key={row.title}>
            <dt>{row.title}</dt>
            <dd className="row">
              {row.jobs.map((text) => {
                const [name = "", on = "success"] = text.split(":");
                return (
                  <span key={text}>
                    <Link to="/job/$" params={{ _splat: name }}>
                      {name}
                    </Link>{" "}
                    <span className="muted">on {on}</span>
                  </span>
                );
              })}
            </dd>
          </div>
        ))}
      </dl>
    </section>
  );
}

function ContextCard({ job, context }: { job: Job; context: Context }) {
  const mayWrite = useMayWrite();
  const queries = useQueryClient();
  const navigate = useNavigate();
  const [dialog, setDialog] = useState<"pause" | "trigger">();
  const runs = useQuery(runsQuery({ job: job.name, env: context.env, limit: 25 })).data?.items ?? [];
  const refresh = () => queries.invalidateQueries({ queryKey: ["jobs"] });
  const change = (body: Parameters<typeof updateContext>[0]["body"]) =>
    updateContext({ path: { ref: context.id }, body, headers: { "if-match": `"${context.rev}"` } }).then(refresh);
  const resume = () => change({ paused: false }).catch((error) => say(sentence(error), "fail"));
  const trigger = async (args: string[], variables: Record<string, string>) => {
    const run = await triggerRun({
      body: { job: job.name, env: context.env, args: args.length ? args : undefined, variables },
    });
    void navigate({ to: "/runs/$runId", params: { runId: run.run_id } });
  };
  return (
    <section className="card" aria-label={`In ${context.env}`}>
      <header>
        <div className="context-head">
          <h2>{context.env}</h2>
          <ContextState context={context} />
          {context.script && (
            <span className="muted">
              {context.script.package_name} <span className="mono">{context.script.package_version}</span>
            </span>
          )}
        </div>
        {mayWrite && (
          <div className="row">
            {context.paused ? (
              <button type="button" className="button" onClick={resume}>
                <Icon name="play" /> Resume
              </button>
            ) : (
              <button type="button" className="button" onClick={() => setDialog("pause")}>
                <Icon name="pause" /> Pause
              </button>
            )}
            {job.type === "scheduled" && (
              <button
                type="button"
                className="button primary"
                disabled={context.state !== "enabled"}
                onClick={() => setDialog("trigger")}
              >
                <Icon name="play" /> Run now
              </button>
            )}
          </div>
        )}
      </header>
      {context.paused && (
        <Note tone="warn" icon="pause">
          Paused{context.pause_reason && `: ${context.pause_reason}`}
        </Note>
      )}
      {context.state_reason && context.state !== "enabled" && (
        <Note tone={context.state === "enabling" ? "run" : "wait"}>{context.state_reason}</Note>
      )}
      <dl className="facts">
        <div>
          <dt>Recent runs</dt>
          <dd>
            <Strip runs={runs} />
          </dd>
        </div>
        {job.type === "scheduled" ? (
          <div>
            <dt>{context.schedules?.length ? `Schedule ${context.schedules.join(", ")}` : "Schedule"}</dt>
            <dd>
              <DueTimes context={context} jitter={context.policies.jitter ?? job.policies?.jitter} />
            </dd>
          </div>
        ) : (
          <div>
            <dt>Replicas</dt>
            <dd>{context.per_worker ? "one per worker" : context.replicas}</dd>
          </div>
        )}
        <div>
          <dt>Pool</dt>
          <dd>{context.pool}</dd>
        </div>
        {(context.args ?? []).length > 0 && (
          <div>
            <dt>Arguments</dt>
            <dd className="mono">{(context.args ?? []).join(" ")}</dd>
          </div>
        )}
        {context.script?.entry && (
          <div>
            <dt>Entry</dt>
            <dd className="mono">{context.script.entry}</dd>
          </div>
        )}
      </dl>
      {dialog === "pause" && (
        <ActionDialog
          title={`Pause ${job.name} in ${context.env}?`}
          confirm="Pause"
          reason
          onClose={() => setDialog(undefined)}
          act={(reason) => change({ paused: true, pause_reason: reason })}
        >
          Due times are skipped, and listed as such, until you resume. What runs already goes on.
        </ActionDialog>
      )}
      {dialog === "trigger" && (
        <TriggerDialog job={job.name} env={context.env} onClose={() => setDialog(undefined)} trigger={trigger} />
      )}
    </section>
  );
}
