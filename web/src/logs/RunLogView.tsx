import { useCallback, useEffect, useRef, useState } from "react";
import { apiUrl } from "../api/base";
import type { Run } from "../api/calls";
import { Icon } from "../ui/Icon";
import { Fault, Note } from "../ui/parts";
import { count, plural } from "../ui/time";
import type { LogFilter } from "./filter";
import { LogList, type LogListHandle } from "./LogList";
import { LogRow } from "./LogRow";
import { LogToolbar } from "./LogToolbar";
import { StreamNotice } from "./StreamNotice";
import { useLogSearch } from "./useLogSearch";
import { usePreference } from "./usePreference";
import { type RunLog, useRunLog } from "./useRunLog";

/** A browser's tallest element is 33 million pixels: of a longer log, the last lines are scrolled. */
const MOST_ROWS = 1_500_000;

interface RunLogViewProps {
  run: Run;
  grant: number;
  /** The line the address names. */
  line: number | undefined;
  /** Shows a line among its neighbours: the filter is gone then. */
  onPick: (line: number) => void;
  filter: LogFilter;
  onFilter: (filter: LogFilter) => void;
  onEnd: (run: Run) => void;
}

export function RunLogView({ run, grant, line, onPick, filter, onFilter, onEnd }: RunLogViewProps) {
  const expected = run.attempts?.find((attempt) => attempt.grant === grant)?.log?.lines;
  const log = useRunLog(run.run_id, grant, expected, onEnd);
  const search = useLogSearch(run.run_id, grant, filter, log);
  const [follow, setFollow] = useState(line === undefined);
  const [wrap, setWrap] = usePreference("wrap", false);
  const [time, setTime] = usePreference("time", true);
  const list = useRef<LogListHandle>(null);
  const { store, need } = log;
  const base = Math.max(0, store.lastN - MOST_ROWS);
  const filtered = search !== undefined;
  const rows = search ? search.found.length : store.lastN - base;

  const onRange = useCallback(
    (first: number, last: number) => {
      if (!filtered) need(first + base + 1, last + base + 1);
    },
    [filtered, need, base],
  );
  const pick = useCallback(
    (n: number) => {
      setFollow(false);
      onPick(n);
    },
    [onPick],
  );
  const ready = line !== undefined && !search && store.lastN >= line;
  // biome-ignore lint/correctness/useExhaustiveDependencies: once per line asked for, not per line that arrives.
  useEffect(() => {
    if (ready) requestAnimationFrame(() => list.current?.scrollToIndex(line - base - 1));
  }, [ready, line]);

  const row = (index: number) => {
    const found = search ? search.found[index] : store.get(index + base + 1);
    if (found) return <LogRow line={found} q={filter.q} showTime={time} marked={found.n === line} onPick={pick} />;
    return <Absent n={index + base + 1} gap={store.isGap(index + base + 1)} />;
  };

  return (
    <section className="log-panel" aria-label="Log of the run">
      <LogToolbar {...{ filter, onFilter, follow, wrap, time }} onFollow={setFollow} onWrap={setWrap} onTime={setTime}>
        <a
          className="button quiet icon"
          href={apiUrl(`runs/${run.run_id}/logs`, { grant, format: "text" })}
          download={`${run.job.replaceAll("/", "-")}-${run.run_id.slice(0, 8)}.log`}
          title="Download the log"
          aria-label="Download the log"
        >
          <Icon name="download" />
        </a>
      </LogToolbar>
      <StreamNotice state={log.state} />
      {Boolean(log.error ?? search?.error) && <Fault error={log.error ?? search?.error} />}
      {log.detail && <Note tone="wait">{log.detail}</Note>}
      {!log.detail && log.gaps.length > 0 && (
        <Note tone="warn">A part of the log is missing: {log.gaps.join(", ")}.</Note>
      )}
      {base > 0 && !search && (
        <Note tone="wait">
          The last {count(MOST_ROWS)} of {count(store.lastN)} lines; search finds the earlier ones.
        </Note>
      )}
      {rows > 0 ? (
        <LogList
          key={filtered ? "found" : "all"}
          ref={list}
          label="Lines"
          count={rows}
          row={row}
          {...{ wrap, follow, onRange }}
          onFollow={setFollow}
        />
      ) : (
        <Nothing
          log={log}
          searching={search?.searching}
          filtered={Boolean(search)}
          run={run}
          onClear={() => onFilter({})}
        />
      )}
      <footer className="log-foot">
        <span className="num">
          {search
            ? `${plural(search.found.length, "line")} of ${count(store.lastN)}${search.cut ? ", and more" : ""}`
            : plural(store.lastN, "line")}
        </span>
        {search?.searching && (
          <span className="row">
            <Icon name="spinner" size={13} /> Searching{search.reached > 0 && ` from line ${count(search.reached)}`}…
          </span>
        )}
        <span className="log-state">{STATES[log.state]}</span>
      </footer>
    </section>
  );
}

const STATES: Record<RunLog["state"], string> = {
  connecting: "Connecting…",
  live: "Live",
  lost: "Reconnecting…",
  refused: "Not followed",
  complete: "Complete",
};

function Absent({ n, gap }: { n: number; gap: boolean }) {
  return (
    <div className="log-row absent" data-n={n}>
      <span className="log-n">{n}</span>
      <span className="log-text">{gap ? "⋯ this line is missing" : ""}</span>
    </div>
  );
}

interface NothingProps {
  log: RunLog;
  searching: boolean | undefined;
  filtered: boolean;
  run: Run;
  onClear: () => void;
}

function Nothing({ log, searching, filtered, run, onClear }: NothingProps) {
  const waiting = log.state === "connecting" || searching;
  let text = "The script has printed nothing yet.";
  if (waiting) text = "Reading…";
  else if (filtered) text = "No line passes this filter.";
  else if (log.state === "complete")
    text = run.started_at ? "The script printed nothing." : "The run never started, so there is no log.";
  return (
    <div className="log-nothing muted">
      <p>{text}</p>
      {filtered && !waiting && (
        <button type="button" className="button" onClick={onClear}>
          Show all lines
        </button>
      )}
    </div>
  );
}
