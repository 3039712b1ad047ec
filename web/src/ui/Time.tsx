import { useSyncExternalStore } from "react";
import { clock, duration, relative, utc } from "./time";

let current = Date.now();
const listeners = new Set<() => void>();
let timer: ReturnType<typeof setInterval> | undefined;

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  timer ??= setInterval(() => {
    current = Date.now();
    for (const each of listeners) each();
  }, 1000);
  return () => {
    listeners.delete(listener);
    if (listeners.size) return;
    clearInterval(timer);
    timer = undefined;
  };
}

/** The time to the second, shared by everything that ticks. */
export function useNow(): number {
  return useSyncExternalStore(subscribe, () => current);
}

export function Time({ at, empty = "–" }: { at: string | null | undefined; empty?: string }) {
  if (!at) return <span className="muted">{empty}</span>;
  const date = new Date(at);
  return (
    <time dateTime={at} title={utc(date)} className="num nowrap">
      {clock(date)}
    </time>
  );
}

export function Ago({ at, empty = "–" }: { at: string | null | undefined; empty?: string }) {
  const now = useNow();
  if (!at) return <span className="muted">{empty}</span>;
  const date = new Date(at);
  return (
    <time dateTime={at} title={`${clock(date)} · ${utc(date)}`} className="num nowrap">
      {relative(date.getTime(), now)}
    </time>
  );
}

interface Span {
  started_at?: string | null;
  ended_at?: string | null;
  duration_s?: number | null;
}

/** How long a run took, or has been running. */
export function Took({ span }: { span: Span }) {
  if (typeof span.duration_s === "number" && span.ended_at)
    return <span className="num nowrap">{duration(span.duration_s)}</span>;
  if (!span.started_at) return <span className="muted">–</span>;
  if (span.ended_at) {
    const took = new Date(span.ended_at).getTime() - new Date(span.started_at).getTime();
    return <span className="num nowrap">{duration(took / 1000)}</span>;
  }
  return <Running since={span.started_at} />;
}

function Running({ since }: { since: string }) {
  const now = useNow();
  return (
    <span className="num nowrap">{duration(Math.max(0, Math.floor((now - new Date(since).getTime()) / 1000)))}</span>
  );
}
