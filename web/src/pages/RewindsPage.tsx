import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import {
  cancelRewind,
  compareRewind,
  dropRewind,
  pauseRewind,
  promoteRewind,
  type Rewind,
  resumeRewind,
} from "../api/calls";
import { rewindsQuery } from "../api/queries";
import { useMayWrite } from "../app/useMayWrite";
import { PageHead } from "../ui/Page";
import { Progress } from "../ui/Progress";
import { Command, Empty, Fault, Skeleton } from "../ui/parts";
import { Ago, Time } from "../ui/Time";
import { count } from "../ui/time";
import { type Order, WorkCard } from "../ui/WorkCard";
import { ShadowComparison } from "./ShadowComparison";

export function RewindsPage() {
  const rewinds = useQuery(rewindsQuery);
  const mayWrite = useMayWrite();
  const items = rewinds.data?.items;
  return (
    <>
      <PageHead
        title="Rewinds"
        about="Daemons that process stored messages again; what comes of it is flagged as a re-run."
      />
      {rewinds.error ? (
        <Fault error={rewinds.error} retry={rewinds.refetch} />
      ) : !items ? (
        <Skeleton />
      ) : items.length ? (
        items.map((item) => <RewindCard key={item.id} rewind={item} mayWrite={mayWrite} />)
      ) : (
        <section className="card" aria-label="Rewinds">
          <Empty icon="retry" title="There is no rewind yet">
            <p>A processor was wrong for an hour: mend it, and have it process that hour again.</p>
            <Command>kirby rewind TOPIC --from -1h --dry-run</Command>
          </Empty>
        </section>
      )}
    </>
  );
}

const STATES = {
  draining: ["run", "spinner", "Draining"],
  running: ["run", "spinner", "Running"],
  paused: ["warn", "pause", "Paused"],
  comparing: ["run", "spinner", "Comparing"],
  ready: ["ok", "search", "Ready"],
  promoting: ["run", "spinner", "Promoting"],
  dropping: ["run", "spinner", "Dropping"],
  done: ["ok", "check", "Done"],
  promoted: ["ok", "check", "Promoted"],
  dropped: ["wait", "skip", "Dropped"],
  cancelled: ["wait", "skip", "Cancelled"],
  failed: ["fail", "cross", "Failed"],
} as const;

function RewindCard({ rewind, mayWrite }: { rewind: Rewind; mayWrite: boolean }) {
  const queries = useQueryClient();
  const refresh = () => queries.invalidateQueries({ queryKey: ["rewinds"] });
  return (
    <WorkCard
      kind="Rewind"
      work={rewind}
      state={STATES[rewind.state]}
      tag={rewind.mode === "shadow" ? "in shadow" : undefined}
      orders={mayWrite ? ordersOf(rewind, refresh) : []}
      facts={<Facts rewind={rewind} />}
    >
      <Progress
        label={`Progress of ${rewind.job} in ${rewind.env}`}
        total={rewind.total}
        parts={[{ status: "SUCCEEDED", count: rewind.done }]}
      />
      <span className="muted">
        {rewind.total ? `${count(rewind.done)} of ${count(rewind.total)} messages` : "has not begun yet"}
      </span>
      {rewind.comparison && <ShadowComparison comparison={rewind.comparison} />}
    </WorkCard>
  );
}

/** What can be asked of it in its state. */
function ordersOf(rewind: Rewind, refresh: () => Promise<void>): Order[] {
  const path = { rewind_id: rewind.id };
  const inShadow = rewind.mode === "shadow";
  const drop: Order = {
    name: "Drop",
    icon: "trash",
    danger: true,
    act: () => dropRewind({ path }).then(refresh),
    ask: {
      title: "Drop what it made?",
      confirm: "Drop it",
      text: "Its topics, States and group are deleted. What is live does not change.",
    },
  };
  if (rewind.state === "ready") {
    const compare: Order = { name: "Compare", icon: "retry", act: () => compareRewind({ path }).then(refresh) };
    const promote: Order = {
      name: "Promote",
      icon: "check",
      act: () => promoteRewind({ path }).then(refresh),
      ask: {
        title: "Promote what it made?",
        confirm: "Promote it",
        text: "Its messages are appended to the original topics, flagged as a re-run, so that whoever reads those gets them. What it set in States becomes new versions. Then it is dropped.",
      },
    };
    return [compare, promote, drop];
  }
  if (inShadow && (rewind.state === "comparing" || rewind.state === "failed")) return [drop];
  if (!["draining", "running", "paused"].includes(rewind.state) || rewind.wanted === "cancel") return [];
  const isPaused = rewind.state === "paused" || (rewind.state === "draining" && rewind.wanted === "pause");
  const resume: Order = { name: "Resume", icon: "play", act: () => resumeRewind({ path }).then(refresh) };
  const pause: Order = {
    name: "Pause",
    icon: "pause",
    act: (reason) => pauseRewind({ path, body: { reason } }).then(refresh),
    ask: {
      title: "Pause this rewind?",
      confirm: "Pause",
      reason: true,
      text: inShadow
        ? "Its run ends, and another one goes on when it is resumed."
        : "Its replicas drain and stay down until it is resumed. Live messages wait meanwhile.",
    },
  };
  const cancel: Order = {
    name: "Cancel",
    icon: "cross",
    danger: true,
    act: (reason) => cancelRewind({ path, body: { reason } }).then(refresh),
    ask: {
      title: "Cancel this rewind?",
      confirm: "Cancel the rewind",
      reason: true,
      text: inShadow
        ? "Its run ends, and what it made is deleted."
        : "Its replicas drain, and go on live where they were before it. It can't be resumed.",
    },
  };
  return [isPaused ? resume : pause, cancel];
}

function Facts({ rewind }: { rewind: Rewind }) {
  return (
    <dl className="facts">
      {rewind.run_id && (
        <div>
          <dt>Run</dt>
          <dd>
            <Link to="/runs/$runId" params={{ runId: rewind.run_id }}>
              {rewind.run_id.slice(0, 8)}
            </Link>
          </dd>
        </div>
      )}
      <div>
        <dt>What</dt>
        <dd>{rewind.target}</dd>
      </div>
      <div>
        <dt>From</dt>
        <dd>
          <Time at={rewind.from} />
        </dd>
      </div>
      <div>
        <dt>To</dt>
        <dd>{rewind.to ? <Time at={rewind.to} /> : "what was processed last"}</dd>
      </div>
      <div>
        <dt>At most</dt>
        <dd>{rewind.rate ? `${rewind.rate} messages/s` : "as fast as it goes"}</dd>
      </div>
      <div>
        <dt>Asked for</dt>
        <dd>
          <Ago at={rewind.created_at} /> by {rewind.requested_by}
        </dd>
      </div>
    </dl>
  );
}
