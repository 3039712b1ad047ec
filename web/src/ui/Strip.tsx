import type { Run } from "../api/calls";
import { statusName, toneOf } from "./Status";
import { plural } from "./time";

const MOST = 24;

/** The last runs as small bars, newest at the right. */
export function Strip({ runs }: { runs: readonly Run[] }) {
  const shown = runs
    .filter((run) => run.started_at || run.ended_at)
    .slice(0, MOST)
    .reverse();
  if (!shown.length) return <span className="muted">none yet</span>;
  const wrong = shown.filter((run) => ["fail", "odd", "warn"].includes(toneOf(run.status))).length;
  return (
    <span
      className="strip"
      role="img"
      aria-label={`Last ${plural(shown.length, "run")}, ${wrong || "none"} went wrong`}
    >
      {shown.map((run) => (
        <span key={run.run_id} className={`solid-${toneOf(run.status)}`} title={statusName(run.status)} />
      ))}
    </span>
  );
}
