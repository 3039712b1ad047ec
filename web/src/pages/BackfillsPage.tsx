import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { type Backfill, cancelBackfill, pauseBackfill, resumeBackfill } from "../api/calls";
import { backfillsQuery } from "../api/queries";
import { useMayWrite } from "../app/useMayWrite";
import { BackfillDialog } from "../forms/BackfillDialog";
import { Icon } from "../ui/Icon";
import { PageHead } from "../ui/Page";
import { Progress } from "../ui/Progress";
import { Command, Empty, Fault, Skeleton } from "../ui/parts";
import { isEnded, statusName } from "../ui/Status";
import { Ago, Time } from "../ui/Time";
import { count } from "../ui/time";
import { say } from "../ui/toasts";
import { type Order, WorkCard } from "../ui/WorkCard";

export function BackfillsPage() {
  const backfills = useQuery(backfillsQuery);
  const mayWrite = useMayWrite();
  const [making, setMaking] = useState(false);
  const items = backfills.data?.items;
  return (
    <>
      <PageHead
        title="Backfills"
        about="Runs for past due times: so many at a time, out of the way of what is due now."
      >
        {mayWrite && (
          <button type="button" className="button primary" onClick={() => setMaking(true)}>
            <Icon name="plus" /> New backfill
          </button>
        )}
      </PageHead>
      {backfills.error ? (
        <Fault error={backfills.error} retry={backfills.refetch} />
      ) : !items ? (
        <Skeleton />
      ) : items.length ? (
        items.map((item) => <BackfillCard key={item.id} backfill={item} mayWrite={mayWrite} />)
      ) : (
        <section className="card" aria-label="Backfills">
          <Empty icon="history" title="There is no backfill yet">
            <p>An outage, a pause or a mistake: run what was due then.</p>
            <Command>kirby backfill JOB --env prod --from -7d --preview</Command>
          </Empty>
        </section>
      )}
      {making && <BackfillDialog onClose={() => setMaking(false)} />}
    </>
  );
}

const STATES = {
  running: ["run", "spinner", "Running"],
  paused: ["warn", "pause", "Paused"],
  cancelled: ["wait", "skip", "Cancelled"],
  done: ["ok", "check", "Done"],
} as const;

function BackfillCard({ backfill, mayWrite }: { backfill: Backfill; mayWrite: boolean }) {
  const queries = useQueryClient();
  const refresh = () => queries.invalidateQueries({ queryKey: ["backfills"] });
  const told = (after: Backfill) => {
    if (after.running?.length) say(`${count(after.running.length)} of its runs had started: too late for those.`);
    return refresh();
  };
  return (
    <WorkCard
      kind="Backfill"
      work={backfill}
      state={STATES[backfill.state]}
      orders={mayWrite ? ordersOf(backfill, told) : []}
      facts={<Facts backfill={backfill} />}
    >
      <How backfill={backfill} />
    </WorkCard>
  );
}

/** What can be asked of it in its state. */
function ordersOf(backfill: Backfill, told: (after: Backfill) => Promise<void>): Order[] {
  if (backfill.state !== "running" && backfill.state !== "paused") return [];
  const path = { backfill_id: backfill.id };
  const resume: Order = { name: "Resume", icon: "play", act: () => resumeBackfill({ path }).then(told) };
  const pause: Order = {
    name: "Pause",
    icon: "pause",
    act: (reason) => pauseBackfill({ path, body: { reason } }).then(told),
    ask: {
      title: "Pause this backfill?",
      confirm: "Pause",
      reason: true,
      text: "No more of its runs start until it is resumed. Those that have started go on.",
    },
  };
  const cancel: Order = {
    name: "Cancel",
    icon: "cross",
    danger: true,
    act: (reason) => cancelBackfill({ path, body: { reason } }).then(told),
    ask: {
      title: "Cancel this backfill?",
      confirm: "Cancel the backfill",
      reason: true,
      text: "What waits is cancelled; runs that have started go on. It can't be resumed, but another backfill of the same range does what is left.",
    },
  };
  return [backfill.state === "paused" ? resume : pause, cancel];
}

/** The bar, and its numbers in words that lead to the runs. */
function How({ backfill }: { backfill: Backfill }) {
  const counts = Object.entries(backfill.counts).map(([status, number]) => ({ status, count: number }));
  const over = counts.filter((part) => isEnded(part.status));
  return (
    <>
      <Progress
        label={`Progress of ${backfill.job} in ${backfill.env}`}
        total={backfill.total}
        parts={[{ status: "SKIPPED", count: backfill.left_alone }, ...over]}
      />
      <div className="row">
        {counts.map((part) => (
          <Link key={part.status} to="/runs" search={{ backfill: backfill.id, status: part.status }}>
            {count(part.count)} {statusName(part.status).toLowerCase()}
          </Link>
        ))}
        {backfill.left_alone > 0 && <span className="muted">{count(backfill.left_alone)} left alone</span>}
        {backfill.waiting > 0 && <span className="muted">{count(backfill.waiting)} wait</span>}
        <span className="muted">of {count(backfill.total)} due times</span>
      </div>
    </>
  );
}

function Facts({ backfill }: { backfill: Backfill }) {
  return (
    <dl className="facts">
      <div>
        <dt>From</dt>
        <dd>
          <Time at={backfill.from} />
        </dd>
      </div>
      <div>
        <dt>To</dt>
        <dd>
          <Time at={backfill.to} />
        </dd>
      </div>
      <div>
        <dt>At a time</dt>
        <dd>
          {backfill.concurrency}, {backfill.order} first{backfill.rerun && ", flagged as re-runs"}
        </dd>
      </div>
      <div>
        <dt>Asked for</dt>
        <dd>
          <Ago at={backfill.created_at} /> by {backfill.requested_by}
        </dd>
      </div>
    </dl>
  );
}
