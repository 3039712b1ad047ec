import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import type { Health } from "../api/calls";
import { healthQuery, jobsQuery, runsQuery } from "../api/queries";
import { useMayWrite } from "../app/useMayWrite";
import { Icon } from "../ui/Icon";
import { OpenAlerts } from "../ui/OpenAlerts";
import { PageHead } from "../ui/Page";
import { Command, Empty, Fault, Note, Skeleton } from "../ui/parts";
import { collapsed, RunTable } from "../ui/RunTable";
import { Pill } from "../ui/Status";
import { Ago } from "../ui/Time";
import { Timeline } from "../ui/Timeline";
import { count } from "../ui/time";

const RUNNING = { status: "RUNNING,LAUNCHING,RETRYING", limit: 50 };
const WENT_WRONG = { status: "FAILED,LOST,KILLED,MISSED", limit: 100 };

export function OverviewPage() {
  const mayWrite = useMayWrite();
  const health = useQuery(healthQuery);
  const jobs = useQuery(jobsQuery);
  const running = useQuery(runsQuery(RUNNING));
  const wrong = useQuery(runsQuery(WENT_WRONG));
  if (jobs.data && jobs.data.items.length === 0) return <FirstSteps />;
  return (
    <>
      <PageHead title="Overview">
        {mayWrite && (
          <Link to="/deploy" className="button primary">
            <Icon name="upload" /> Deploy
          </Link>
        )}
      </PageHead>
      {health.error && !health.data && <Fault error={health.error} />}
      <OpenAlerts />
      {health.data && <Figures health={health.data} running={running.data?.items.length} />}
      <Timeline contexts={(jobs.data?.items ?? []).flatMap((job) => job.contexts ?? [])} />
      <div className="halves">
        <div>
          <RunsCard
            title="Running now"
            to={RUNNING.status}
            query={running}
            empty={<Empty icon="clock" title="Nothing runs right now" />}
          />
          {health.data && <Next due={health.data.next} />}
        </div>
        <div>
          <RunsCard
            title="Went wrong lately"
            to={WENT_WRONG.status}
            query={wrong}
            empty={
              <Empty icon="check" title="Nothing went wrong">
                <p>Failed, lost, killed and missed runs show here.</p>
              </Empty>
            }
          />
          {health.data && <Parts health={health.data} />}
        </div>
      </div>
    </>
  );
}

function FirstSteps() {
  return (
    <>
      <PageHead title="Overview" />
      <div className="card">
        <Empty icon="box" title="Deploy your first script">
          <p>Any Python file or package will do. From a terminal:</p>
          <Command>kirby deploy hello.py --job hello --env prod --every 10s</Command>
          <p>or</p>
          <Link to="/deploy" className="button primary">
            <Icon name="upload" /> Upload a package
          </Link>
        </Empty>
      </div>
    </>
  );
}

function Figures({ health, running }: { health: Health; running: number | undefined }) {
  const { runs, leader, workers } = health;
  const failed = runs.failed_24h;
  return (
    <>
      {!leader?.alive && (
        <Note tone="fail">No supervisor leads: nothing is scheduled. Start one with `kirby supervisor NAME`.</Note>
      )}
      {workers.alive === 0 && (
        <Note tone="fail">No worker is alive: nothing can run. Start one with `kirby supervisor NAME`.</Note>
      )}
      <dl className="figures">
        <Figure name="Running" to={RUNNING.status}>
          {count(running ?? runs.running)}
        </Figure>
        <Figure name="Waiting" to="PENDING,CLAIMED">
          {count(runs.pending)}
        </Figure>
        <Figure name="Succeeded in 24 h" to="SUCCEEDED">
          {count(runs.succeeded_24h)}
        </Figure>
        <Figure name="Failed in 24 h" to="FAILED" tone={failed ? "var(--fail)" : undefined}>
          {count(failed)}
        </Figure>
      </dl>
    </>
  );
}

function Figure({
  name,
  to,
  tone,
  children,
}: {
  name: string;
  to: string;
  tone?: string | undefined;
  children: ReactNode;
}) {
  return (
    <div className="card figure">
      <dt>
        <Link to="/runs" search={{ status: to }}>
          {name}
        </Link>
      </dt>
      <dd className="num" style={{ color: tone }}>
        {children}
      </dd>
    </div>
  );
}

interface RunsCardProps {
  title: string;
  to: string;
  query: ReturnType<typeof useQuery<Awaited<ReturnType<NonNullable<ReturnType<typeof runsQuery>["queryFn"]>>>>>;
  empty: ReactNode;
}

function RunsCard({ title, to, query, empty }: RunsCardProps) {
  const runs = query.data?.items;
  return (
    <section className="card" aria-label={title}>
      <header>
        <h2>{title}</h2>
        <Link to="/runs" search={{ status: to }}>
          All
        </Link>
      </header>
      {query.error && !runs ? (
        <div className="body">
          <Fault error={query.error} retry={query.refetch} />
        </div>
      ) : !runs ? (
        <Skeleton />
      ) : runs.length ? (
        <RunTable label={title} runs={collapsed(runs).slice(0, 8)} brief />
      ) : (
        empty
      )}
    </section>
  );
}

function Next({ due }: { due: Health["next"] }) {
  return (
    <section className="card" aria-label="Next">
      <header>
        <h2>Next</h2>
        <Link to="/schedules">Schedules</Link>
      </header>
      {due?.length ? (
        <ul className="lines">
          {due.slice(0, 8).map((each) => (
            <li key={`${each.job}@${each.env}`}>
              <Link to="/job/$" params={{ _splat: each.job }} className="name-cell">
                {each.job}
              </Link>
              <span className="tag">{each.env}</span>
              <span className="push muted">
                <Ago at={each.due_at} />
              </span>
            </li>
          ))}
        </ul>
      ) : (
        <Empty icon="calendar" title="Nothing is due" />
      )}
    </section>
  );
}

function Parts({ health }: { health: Health }) {
  const { leader, workers, parts } = health;
  return (
    <section className="card" aria-label="Health">
      <header>
        <h2>Health</h2>
        <Link to="/supervisors">Supervisors</Link>
      </header>
      <ul className="lines">
        <li>
          <Icon name="crown" /> Leader
          <span className="push">
            {leader?.alive ? (
              <Pill tone="ok" icon="check">
                {leader.name ?? "somebody"}
              </Pill>
            ) : (
              <Pill tone="fail" icon="cross">
                Nobody
              </Pill>
            )}
          </span>
        </li>
        <li>
          <Icon name="server" /> Workers
          <span className="push">
            <Pill tone={workers.alive ? "ok" : "fail"} icon={workers.alive ? "check" : "cross"}>
              {workers.alive} of {workers.total} alive
            </Pill>
          </span>
        </li>
        {parts.map((part) => (
          <li key={part.name}>
            <span className="name-cell">{part.name}</span>
            <span className="muted clamp">{part.detail}</span>
            <span className="push">
              <Pill tone={part.status === "ok" ? "ok" : "fail"} icon={part.status === "ok" ? "check" : "alert"}>
                {part.status}
              </Pill>
            </span>
          </li>
        ))}
      </ul>
    </section>
  );
}
