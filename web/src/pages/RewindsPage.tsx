import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { cancelRewind, pauseRewind, type Rewind, resumeRewind } from "../api/calls";
import { sentence } from "../api/problem";
import { rewindsQuery } from "../api/queries";
import { useMayWrite } from "../app/useMayWrite";
import { ActionDialog } from "../ui/ActionDialog";
import { Icon } from "../ui/Icon";
import { PageHead } from "../ui/Page";
import { Progress } from "../ui/Progress";
import { Command, Empty, Fault, Note, Skeleton } from "../ui/parts";
import { Pill } from "../ui/Status";
import { Ago, Time } from "../ui/Time";
import { count } from "../ui/time";
import { say } from "../ui/toasts";

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
  done: ["ok", "check", "Done"],
  cancelled: ["wait", "skip", "Cancelled"],
  failed: ["fail", "cross", "Failed"],
} as const;

function RewindCard({ rewind, mayWrite }: { rewind: Rewind; mayWrite: boolean }) {
  const queries = useQueryClient();
  const [asking, setAsking] = useState<"pause" | "cancel">();
  const path = { rewind_id: rewind.id };
  const refresh = () => queries.invalidateQueries({ queryKey: ["rewinds"] });
  const resume = () =>
    resumeRewind({ path })
      .then(refresh)
      .catch((error) => say(sentence(error), "fail"));
  const [tone, icon, name] = STATES[rewind.state];
  const open = ["draining", "running", "paused"].includes(rewind.state) && rewind.wanted !== "cancel";
  const isPaused = rewind.state === "paused" || (rewind.state === "draining" && rewind.wanted === "pause");
  return (
    <section className="card" aria-label={`Rewind of ${rewind.job} in ${rewind.env}, ${rewind.id.slice(0, 8)}`}>
      <header>
        <div className="context-head">
          <h2>{rewind.job}</h2>
          <span className="tag">{rewind.env}</span>
          <Pill tone={tone} icon={icon}>
            {name}
          </Pill>
        </div>
        {mayWrite && open && (
          <div className="row">
            {isPaused ? (
              <button type="button" className="button" onClick={resume}>
                <Icon name="play" /> Resume
              </button>
            ) : (
              <button type="button" className="button" onClick={() => setAsking("pause")}>
                <Icon name="pause" /> Pause
              </button>
            )}
            <button type="button" className="button danger" onClick={() => setAsking("cancel")}>
              <Icon name="cross" /> Cancel
            </button>
          </div>
        )}
      </header>
      <div className="body stack">
        {rewind.reason && (
          <Note tone={rewind.state === "failed" ? "fail" : "warn"} icon="info">
            {rewind.reason}
          </Note>
        )}
        <Progress
          label={`Progress of ${rewind.job} in ${rewind.env}`}
          total={rewind.total}
          parts={[{ status: "SUCCEEDED", count: rewind.done }]}
        />
        <span className="muted">
          {rewind.total
            ? `${count(rewind.done)} of ${count(rewind.total)} messages`
            : "waits for its replicas to drain"}
        </span>
      </div>
      <Facts rewind={rewind} />
      {asking === "pause" && (
        <ActionDialog
          title="Pause this rewind?"
          confirm="Pause"
          reason
          onClose={() => setAsking(undefined)}
          act={(reason) => pauseRewind({ path, body: { reason } }).then(refresh)}
        >
          Its replicas drain and stay down until it is resumed. Live messages wait meanwhile.
        </ActionDialog>
      )}
      {asking === "cancel" && (
        <ActionDialog
          title="Cancel this rewind?"
          confirm="Cancel the rewind"
          danger
          reason
          onClose={() => setAsking(undefined)}
          act={(reason) => cancelRewind({ path, body: { reason } }).then(refresh)}
        >
          Its replicas drain, and go on live where they were before it. It can't be resumed.
        </ActionDialog>
      )}
    </section>
  );
}

function Facts({ rewind }: { rewind: Rewind }) {
  return (
    <dl className="facts">
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
