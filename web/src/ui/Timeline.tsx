import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import { type MouseEvent, useMemo, useState } from "react";
import type { ContextSummary } from "../api/calls";
import { runsQuery } from "../api/queries";
import { Segments } from "./parts";
import { statusName, toneOf } from "./Status";
import { useNow } from "./Time";
import { duration, plural } from "./time";
import { type Lane, lanes } from "./timelineLayout";

const WINDOWS = [
  ["10", "10 min"],
  ["60", "1 h"],
  ["360", "6 h"],
] as const;
const MOST_LANES = 14;
const MOST_RUNS = 500;

/** The last while of every job, side by side, and what is due next. */
export function Timeline({ contexts }: { contexts: readonly ContextSummary[] }) {
  const [minutes, setMinutes] = useState<(typeof WINDOWS)[number][0]>("10");
  const now = useNow();
  const length = Number(minutes) * 60_000;
  // The question changes each fifth of the window, not each second.
  const asked = Math.floor((now - length) / (length / 5)) * (length / 5);
  const recent = useQuery(runsQuery({ since: new Date(asked).toISOString(), limit: MOST_RUNS })).data?.items;
  const live = useQuery(runsQuery({ status: "RUNNING,LAUNCHING,RETRYING", limit: 50 })).data?.items;
  const runs = useMemo(
    () => [...new Map([...(live ?? []), ...(recent ?? [])].map((run) => [run.run_id, run])).values()],
    [recent, live],
  );
  const from = now - length;
  const to = now + length / 8;
  const rows = lanes(runs, contexts, from, to, now);
  const nowAt = ((now - from) / (to - from)) * 100;
  return (
    <section className="card timeline" aria-label="Timeline">
      <header>
        <h2>Timeline</h2>
        <Segments label="How far back" value={minutes} options={WINDOWS} onChange={setMinutes} />
      </header>
      {rows.length === 0 && (
        <p className="muted" style={{ padding: 16 }}>
          {recent ? "No run in this time." : "Reading…"}
        </p>
      )}
      {rows.slice(0, MOST_LANES).map((lane) => (
        <LaneRow key={`${lane.job}@${lane.env}`} lane={lane} nowAt={nowAt} />
      ))}
      {rows.length > 0 && (
        <div className="lane scale" aria-hidden="true">
          <span />
          <span className="track">
            <span style={{ left: 0 }}>{WINDOWS.find(([each]) => each === minutes)?.[1]} ago</span>
            <span style={{ left: `${nowAt}%`, transform: "translateX(-50%)" }}>now</span>
          </span>
        </div>
      )}
      {rows.length > MOST_LANES && (
        <p className="muted" style={{ padding: "4px 16px 12px", fontSize: 12 }}>
          and {plural(rows.length - MOST_LANES, "more job")}: see <Link to="/jobs">Jobs</Link>
        </p>
      )}
    </section>
  );
}

function LaneRow({ lane, nowAt }: { lane: Lane; nowAt: number }) {
  const navigate = useNavigate();
  const failed = lane.bars.filter((bar) => ["fail", "odd"].includes(toneOf(bar.status))).length;
  const open = (event: MouseEvent) => {
    const runId = (event.target as HTMLElement).dataset.run;
    if (runId) void navigate({ to: "/runs/$runId", params: { runId } });
  };
  return (
    <div className="lane">
      <Link to="/job/$" params={{ _splat: lane.job }} className="lane-name" title={`${lane.job} in ${lane.env}`}>
        <span className="clamp">{lane.job}</span>
        <span className="muted">{lane.env}</span>
      </Link>
      {/* biome-ignore lint/a11y/useKeyWithClickEvents: a shortcut for the mouse; the run lists have every run. */}
      <div
        className="track"
        role="img"
        aria-label={`${plural(lane.bars.length, "run")}${failed ? `, ${failed} went wrong` : ""}`}
        onClick={open}
      >
        {lane.bars.map((bar) => (
          <span
            key={bar.run_id}
            data-run={bar.run_id}
            className={`bar solid-${toneOf(bar.status)}`}
            style={{ left: `${bar.left}%`, width: `max(4px, ${bar.width}%)` }}
            title={`${statusName(bar.status)} · ${duration((bar.end - bar.start) / 1000)}`}
          />
        ))}
        {lane.ahead.map((left) => (
          <span key={left} className="due" style={{ left: `${left}%` }} title="due" />
        ))}
        <span className="now" style={{ left: `${nowAt}%` }} />
      </div>
    </div>
  );
}
