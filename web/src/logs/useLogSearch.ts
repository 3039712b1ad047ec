import { useEffect, useState } from "react";
import { getRunLogs } from "../api/calls";
import { isFiltering, type LogFilter, matches } from "./filter";
import type { Line } from "./store";
import type { RunLog } from "./useRunLog";

const MOST_FOUND = 20_000;

export interface Search {
  found: Line[];
  searching: boolean;
  /** The line that the search has come to. */
  reached: number;
  /** There are more than can be shown. */
  cut: boolean;
  error: unknown;
}

const NOTHING: Search = { found: [], searching: false, reached: 0, cut: false, error: undefined };

/** The lines of a run that pass a filter: the api searches what was written, what arrives is judged here. */
export function useLogSearch(runId: string, grant: number, filter: LogFilter, log: RunLog): Search | undefined {
  const { q, level, stream } = filter;
  const [search, setSearch] = useState<Search>(NOTHING);
  const { onLines } = log;

  useEffect(() => {
    const wanted: LogFilter = { q, level, stream };
    if (!isFiltering(wanted)) return;
    const own = new AbortController();
    const seen = new Set<number>();
    let found: Line[] = [];
    const add = (lines: readonly Line[], more: Partial<Search>) => {
      const fresh = lines.filter((line) => !seen.has(line.n));
      for (const line of fresh) seen.add(line.n);
      if (fresh.length) found = [...found, ...fresh].sort((a, b) => a.n - b.n).slice(0, MOST_FOUND);
      setSearch((before) => ({ ...before, found, cut: found.length >= MOST_FOUND, ...more }));
    };
    const run = async () => {
      let cursor: string | undefined;
      do {
        const query = { grant, q, level, stream, limit: 1000, cursor };
        const page = await getRunLogs({ path: { run_id: runId }, query, signal: own.signal });
        cursor = page.next ?? undefined;
        add(page.items, { searching: Boolean(cursor), reached: lineOf(cursor) });
      } while (cursor && found.length < MOST_FOUND && !own.signal.aborted);
      add([], { searching: false });
    };
    setSearch({ ...NOTHING, searching: true });
    run().catch((error) => !own.signal.aborted && setSearch({ ...NOTHING, found, error }));
    const stop = onLines((lines) => {
      const passing = lines.filter((line) => matches(line, wanted));
      if (passing.length) add(passing, {});
    });
    return () => {
      own.abort();
      stop();
    };
  }, [runId, grant, q, level, stream, onLines]);

  return isFiltering(filter) ? search : undefined;
}

/** A cursor is GRANT.N. */
function lineOf(cursor: string | undefined): number {
  return Number(cursor?.split(".").at(-1)) || 0;
}
