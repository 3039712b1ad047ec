import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { useEffect, useMemo, useState, useSyncExternalStore } from "react";
import { apiUrl } from "../api/base";
import type { LogLine } from "../api/calls";
import { environmentsQuery, jobsQuery } from "../api/queries";
import { openStream, type StreamState } from "../api/stream";
import { type LogFilter, matches } from "../logs/filter";
import { LogList } from "../logs/LogList";
import { LogRow } from "../logs/LogRow";
import { LogToolbar } from "../logs/LogToolbar";
import { StreamNotice } from "../logs/StreamNotice";
import { Tail } from "../logs/tail";
import { usePreference } from "../logs/usePreference";
import { linesOf } from "../logs/useRunLog";
import { Icon } from "../ui/Icon";
import { PageHead } from "../ui/Page";
import { Pick } from "../ui/Pick";
import { count, plural } from "../ui/time";

const KEPT_LINES = 20_000;
const BACKLOG = 200;

type AnyLine = LogLine & { run_id: string; job: string; env: string };

export function AllLogsPage() {
  const search = useSearch({ from: "/shell/logs" });
  const navigate = useNavigate({ from: "/logs" });
  const jobs = useQuery(jobsQuery).data?.items ?? [];
  const environments = useQuery(environmentsQuery).data?.items ?? [];
  const [stream, setStream] = useState<LogFilter["stream"]>();
  const [wrap, setWrap] = usePreference("wrap", false);
  const [time, setTime] = usePreference("time", true);
  const { job, env, level, q } = search;
  const { tail, state } = useAllLogs(job, env, level);
  const version = useSyncExternalStore(tail.subscribe, tail.snapshot);
  const filter: LogFilter = { q, level, stream };
  // biome-ignore lint/correctness/useExhaustiveDependencies: the version stands for the lines.
  const shown = useMemo(
    () => (q || stream ? tail.items.filter((line) => matches(line, { q, stream })) : tail.items),
    [tail, version, q, stream],
  );
  const set = (change: Partial<typeof search>) => void navigate({ search: { ...search, ...change }, replace: true });
  const follow = !tail.paused;

  return (
    <>
      <PageHead title="Logs" about="Every line of every run, as it is printed." />
      <div className="filters">
        <Pick
          label="Job"
          value={job}
          all="All jobs"
          options={jobs.map((each) => [each.name, each.name])}
          onChange={(picked) => set({ job: picked })}
        />
        <Pick
          label="Environment"
          value={env}
          all="All environments"
          options={environments.map((each) => [each.name, each.name])}
          onChange={(picked) => set({ env: picked })}
        />
      </div>
      <div className="all-logs">
        <section className="log-panel" aria-label="Lines of all runs">
          <LogToolbar
            {...{ filter, follow, wrap, time }}
            onFilter={(next) => {
              setStream(next.stream);
              set({ q: next.q, level: next.level });
            }}
            onFollow={(on) => tail.pause(!on)}
            onWrap={setWrap}
            onTime={setTime}
          >
            <button
              type="button"
              className="button quiet icon"
              title="Clear what is shown"
              aria-label="Clear what is shown"
              onClick={() => tail.clear()}
            >
              <Icon name="trash" />
            </button>
          </LogToolbar>
          <StreamNotice state={state} />
          {shown.length ? (
            <LogList
              label="Lines"
              count={shown.length}
              dropped={q || stream ? 0 : tail.dropped}
              key={`${q}/${stream}`}
              onFollow={(on) => tail.pause(!on)}
              {...{ wrap, follow }}
              row={(index) => <Row line={shown[index]} q={q} time={time} />}
            />
          ) : (
            <div className="log-nothing muted">
              <p>{state === "live" ? "Waiting for a script to print something…" : "Connecting…"}</p>
            </div>
          )}
          {tail.waiting > 0 && (
            <button type="button" className="button primary log-more" onClick={() => tail.pause(false)}>
              <Icon name="down" /> {plural(tail.waiting, "new line")}
            </button>
          )}
          <footer className="log-foot">
            <span className="num">{plural(shown.length, "line")}</span>
            {tail.dropped > 0 && (
              <span>The newest {count(KEPT_LINES)} are kept here; each run's page has all of its own.</span>
            )}
            <span className="log-state">
              {tail.paused ? "Paused" : state === "live" ? "Live" : state === "lost" ? "Reconnecting…" : "Connecting…"}
            </span>
          </footer>
        </section>
      </div>
    </>
  );
}

function Row({ line, q, time }: { line: AnyLine | undefined; q: string | undefined; time: boolean }) {
  if (!line) return null;
  const origin = (
    <Link
      to="/runs/$runId"
      params={{ runId: line.run_id }}
      search={{ line: line.n, grant: line.grant }}
      className="log-origin"
      tabIndex={-1}
      title={`${line.job} in ${line.env}, line ${line.n}`}
    >
      {line.job} <span className="muted">{line.env}</span>
    </Link>
  );
  return <LogRow line={line} q={q} showTime={time} origin={origin} />;
}

function useAllLogs(job: string | undefined, env: string | undefined, level: string | undefined) {
  // biome-ignore lint/correctness/useExhaustiveDependencies: another choice begins with an empty page.
  const tail = useMemo(() => new Tail<AnyLine>(KEPT_LINES), [job, env, level]);
  const [state, setState] = useState<StreamState>("connecting");
  useEffect(() => {
    let queue: AnyLine[] = [];
    let frame = 0;
    const flush = () => {
      frame = 0;
      tail.push(queue);
      queue = [];
    };
    const close = openStream({
      url: () => apiUrl("logs/stream", { job, env, level, backlog: BACKLOG }),
      onState: setState,
      onEvents: (events) => {
        queue.push(...(linesOf(events) as AnyLine[]));
        if (!frame && queue.length) frame = requestAnimationFrame(flush);
      },
    });
    return () => {
      close();
      cancelAnimationFrame(frame);
    };
  }, [tail, job, env, level]);
  return { tail, state };
}
