import { useCallback, useEffect, useState, useSyncExternalStore } from "react";
import { apiUrl } from "../api/base";
import { getRunLogs, type LogGap, type LogLine, type LogPage, type Run } from "../api/calls";
import type { StreamEvent } from "../api/sse";
import { openStream, type StreamState } from "../api/stream";
import { type Line, LogStore, PAGE } from "./store";

const FIRST_LINES = 500;
/** A run's end can be known before its last lines are: how often, and when, they are asked for again. */
const LATE_ROUNDS = 20;
const LATE_MS = 500;

export interface RunLog {
  store: LogStore;
  state: StreamState | "complete";
  error: unknown;
  /** What the api says of the log as a whole, such as that it has expired. */
  detail: string | undefined;
  /** Why parts of the log are missing, each reason once. */
  gaps: readonly string[];
  /** Fetches what is absent between two line numbers. */
  need: (first: number, last: number) => void;
  onLines: (listener: (lines: Line[]) => void) => () => void;
}

export function linesOf(events: StreamEvent[]): LogLine[] {
  return events.flatMap((event) => {
    if (event.event === "line") return [JSON.parse(event.data) as LogLine];
    return event.event === "lines" ? (JSON.parse(event.data) as LogLine[]) : [];
  });
}

function lastOf(page: LogPage): number {
  return Math.max(page.last_n ?? 0, page.items[page.items.length - 1]?.n ?? 0);
}

/**
 * One attempt's log: its end at once, what follows live, the rest as it is looked at. Remount (by key) for another
 * attempt. `expected`: how many lines the attempt's end has counted; they may take a moment to arrive.
 */
export function useRunLog(
  runId: string,
  grant: number,
  expected: number | undefined,
  onEnd: (run: Run) => void,
): RunLog {
  const [store] = useState(() => new LogStore());
  const [listeners] = useState(() => new Set<(lines: Line[]) => void>());
  const [state, setState] = useState<RunLog["state"]>("connecting");
  const [error, setError] = useState<unknown>();
  const [detail, setDetail] = useState<string>();
  const [gaps, setGaps] = useState<readonly string[]>([]);
  const [round, setRound] = useState(0);
  useSyncExternalStore(store.subscribe, store.snapshot);

  const noteGaps = useCallback((found: readonly LogGap[]) => {
    if (found.length) setGaps((before) => [...new Set([...before, ...found.map((gap) => gap.reason)])]);
  }, []);

  // biome-ignore lint/correctness/useExhaustiveDependencies: a new round follows again.
  useEffect(() => {
    let close = () => {};
    let gone = false;
    let queue: LogLine[] = [];
    let frame = 0;
    const flush = () => {
      frame = 0;
      const lines = queue;
      queue = [];
      store.put(lines);
      for (const listener of listeners) listener(lines);
    };
    const onEvents = (events: StreamEvent[]) => {
      queue.push(...linesOf(events).filter((line) => (line.grant ?? grant) === grant));
      if (!frame && queue.length) frame = requestAnimationFrame(flush);
      noteGaps(events.filter((event) => event.event === "gap").map((event) => JSON.parse(event.data) as LogGap));
      const end = events.find((event) => event.event === "end");
      if (!end) return;
      close();
      setState("complete");
      onEnd(JSON.parse(end.data) as Run);
    };
    const follow = () =>
      openStream({
        url: () => apiUrl(`runs/${runId}/logs/stream`, { grant, after: store.lastN }),
        onEvents,
        onState: setState,
        onRefused: (status) => setError(new Error(`The log can't be followed: the api answered ${status}.`)),
      });
    const begin = async () => {
      try {
        const page = await getRunLogs({ path: { run_id: runId }, query: { grant, tail: FIRST_LINES } });
        if (gone) return;
        store.put(page.items);
        store.extend(lastOf(page));
        noteGaps(page.gaps ?? []);
        setDetail(page.detail ?? undefined);
        if (page.complete) setState("complete");
        else close = follow();
      } catch (problem) {
        if (!gone) setError(problem);
      }
    };
    setError(undefined);
    void begin();
    return () => {
      gone = true;
      close();
      cancelAnimationFrame(frame);
    };
  }, [runId, grant, store, listeners, onEnd, noteGaps, round]);

  const late =
    state === "complete" && !detail && expected !== undefined && store.lastN < expected && round < LATE_ROUNDS;
  useEffect(() => {
    if (!late) return;
    const timer = setTimeout(() => setRound(round + 1), LATE_MS);
    return () => clearTimeout(timer);
  }, [late, round]);

  const need = useCallback(
    (first: number, last: number) => fetchMissing(store, runId, grant, first, last, setError),
    [store, runId, grant],
  );
  const onLines = useCallback(
    (listener: (lines: Line[]) => void) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    [listeners],
  );
  return { store, state, error, detail, gaps, need, onLines };
}

function fetchMissing(
  store: LogStore,
  runId: string,
  grant: number,
  first: number,
  last: number,
  onError: (error: unknown) => void,
) {
  for (const page of store.missing(first, last)) {
    store.expect(page, true);
    getRunLogs({ path: { run_id: runId }, query: { grant, after: String(page * PAGE), limit: PAGE } })
      .then((answer) => {
        const within = answer.items.filter((line) => line.n <= (page + 1) * PAGE);
        store.putPage(page, within, lastOf(answer));
        store.evict(first);
      })
      .catch(onError)
      .finally(() => store.expect(page, false));
  }
}
