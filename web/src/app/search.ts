/** What the addresses of pages say after the `?`. */
import { LEVELS, type Level } from "../logs/filter";

type Raw = Record<string, unknown>;

export interface RunsSearch {
  job?: string | undefined;
  env?: string | undefined;
  status?: string | undefined;
  kind?: string | undefined;
  backfill?: string | undefined;
  q?: string | undefined;
  cursor?: string | undefined;
}

export interface RunSearch {
  grant?: number | undefined;
  line?: number | undefined;
  q?: string | undefined;
  level?: Level | undefined;
  stream?: "stdout" | "stderr" | "system" | undefined;
  tab?: "history" | undefined;
}

export interface LogsSearch {
  job?: string | undefined;
  env?: string | undefined;
  level?: Level | undefined;
  q?: string | undefined;
}

export interface DeploySearch {
  job?: string | undefined;
  env?: string | undefined;
}

export interface LineageSearch {
  node?: string | undefined;
  env?: string | undefined;
  topic?: string | undefined;
  message?: string | undefined;
}

export interface StatesSearch {
  state?: string | undefined;
  env?: string | undefined;
  key?: string | undefined;
}

export interface LoginSearch {
  to?: string | undefined;
  /** A one-time link that was used already. */
  link?: string | undefined;
}

/** A text from the address, or nothing. */
function text(value: unknown): string | undefined {
  return value === undefined || value === null || value === "" ? undefined : String(value);
}

function level(value: unknown): Level | undefined {
  return LEVELS.find((each) => each === value);
}

export function runsSearch({ job, env, status, kind, backfill, q, cursor }: Raw): RunsSearch {
  const narrow = { job: text(job), env: text(env), status: text(status), kind: text(kind), backfill: text(backfill) };
  return { ...narrow, q: text(q), cursor: text(cursor) };
}

export function runSearch(raw: Raw): RunSearch {
  return {
    grant: Number(raw.grant) || undefined,
    line: Number(raw.line) || undefined,
    q: text(raw.q),
    level: level(raw.level),
    stream: (["stdout", "stderr", "system"] as const).find((each) => each === raw.stream),
    tab: raw.tab === "history" ? "history" : undefined,
  };
}

export function logsSearch(raw: Raw): LogsSearch {
  return { job: text(raw.job), env: text(raw.env), level: level(raw.level), q: text(raw.q) };
}

export function deploySearch({ job, env }: Raw): DeploySearch {
  return { job: text(job), env: text(env) };
}

export function statesSearch({ state, env, key }: Raw): StatesSearch {
  return { state: text(state), env: text(env), key: text(key) };
}

export function lineageSearch({ node, env, topic, message }: Raw): LineageSearch {
  return { node: text(node), env: text(env), topic: text(topic), message: text(message) };
}

export function loginSearch({ to, link }: Raw): LoginSearch {
  return { to: text(to), link: text(link) };
}
