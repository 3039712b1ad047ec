import type { Line } from "./store";

export interface LogFilter {
  q?: string | undefined;
  /** The lowest level shown; lines that show no level have none. */
  level?: Level | undefined;
  stream?: Line["stream"] | undefined;
}

export const LEVELS = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] as const;
export type Level = (typeof LEVELS)[number];

export function isFiltering(filter: LogFilter): boolean {
  return Boolean(filter.q || filter.level || filter.stream);
}

function rank(level: string | null | undefined): number {
  return LEVELS.indexOf(level as Level);
}

/** The same judgement as the api's `q`, `level` and `stream`, for lines that arrive live. */
export function matches(line: Pick<Line, "text" | "level" | "stream">, filter: LogFilter): boolean {
  if (filter.stream && line.stream !== filter.stream) return false;
  if (filter.level && rank(line.level) < rank(filter.level)) return false;
  return !filter.q || line.text.toLowerCase().includes(filter.q.toLowerCase());
}

/** Where `q` stands in `text`, as [start, end) pairs. */
export function findAll(text: string, q: string | undefined): [number, number][] {
  if (!q) return [];
  const found: [number, number][] = [];
  const low = text.toLowerCase();
  const wanted = q.toLowerCase();
  for (let at = low.indexOf(wanted); at >= 0 && found.length < 100; at = low.indexOf(wanted, at + wanted.length)) {
    found.push([at, at + wanted.length]);
  }
  return found;
}
