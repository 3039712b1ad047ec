/** Where runs lie on a strip of time: pure, so that it can be tested. */

export interface Span {
  run_id: string;
  job: string;
  env: string;
  status: string;
  start: number;
  /** Now, while it runs. */
  end: number;
}

export interface Bar extends Span {
  left: number;
  width: number;
}

export interface Lane {
  job: string;
  env: string;
  bars: Bar[];
  /** Due times ahead, in percent. */
  ahead: number[];
}

interface RunLike {
  run_id: string;
  job: string;
  env: string;
  status: string;
  started_at?: string | null;
  ended_at?: string | null;
  due_at?: string | null;
  created_at: string;
}

interface DueLike {
  job: string;
  env: string;
  next_due_at?: string | null;
}

const time = (text: string | null | undefined) => (text ? new Date(text).getTime() : undefined);

function spanOf(run: RunLike, now: number): Span {
  const ended = time(run.ended_at);
  const started = time(run.started_at);
  // What never started has no length: it lies where it was due.
  const start = started ?? time(run.due_at) ?? ended ?? new Date(run.created_at).getTime();
  const end = started === undefined ? start : (ended ?? now);
  return { run_id: run.run_id, job: run.job, env: run.env, status: run.status, start, end: Math.max(start, end) };
}

export function lanes(
  runs: readonly RunLike[],
  due: readonly DueLike[],
  from: number,
  to: number,
  now: number,
): Lane[] {
  const percent = (at: number) => ((Math.min(Math.max(at, from), to) - from) / (to - from)) * 100;
  const found = new Map<string, Lane>();
  const lane = (job: string, env: string) => {
    const key = `${job}@${env}`;
    const known = found.get(key) ?? { job, env, bars: [], ahead: [] };
    found.set(key, known);
    return known;
  };
  const ahead = (job: string, env: string, at: number) => {
    if (at <= to && at > now) lane(job, env).ahead.push(percent(at));
  };
  for (const run of runs) {
    const span = spanOf(run, now);
    // The scheduler writes rows a little ahead of their time.
    if (span.start > now) ahead(run.job, run.env, span.start);
    if (span.end < from || span.start > now) continue;
    const left = percent(span.start);
    lane(run.job, run.env).bars.push({ ...span, left, width: percent(span.end) - left });
  }
  for (const context of due) {
    const at = time(context.next_due_at);
    if (at !== undefined) ahead(context.job, context.env, at);
  }
  return [...found.values()].sort((a, b) => a.job.localeCompare(b.job) || a.env.localeCompare(b.env));
}
