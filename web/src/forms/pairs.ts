/** Text fields that hold several values, one per line. */

export function linesOf(text: string): string[] {
  return text
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean);
}

export class BadPair extends Error {}

/** `NAME=value` lines. A line without `=` raises `BadPair`. */
export function pairsOf(text: string): Record<string, string> {
  const pairs: Record<string, string> = {};
  for (const line of linesOf(text)) {
    const at = line.indexOf("=");
    if (at < 1) throw new BadPair(`“${line}” is not NAME=value.`);
    pairs[line.slice(0, at).trim()] = line.slice(at + 1);
  }
  return pairs;
}

export function textOfPairs(pairs: Record<string, unknown> | undefined): string {
  return Object.entries(pairs ?? {})
    .map(([name, value]) => `${name}=${String(value)}`)
    .join("\n");
}

/** Words as a shell splits them: quotes keep spaces together. */
export function wordsOf(text: string): string[] {
  const words: string[] = [];
  for (const match of text.matchAll(/(?:[^\s"']+|"((?:[^"\\]|\\.)*)"|'([^']*)')+/g)) {
    words.push(
      match[0].replace(/"((?:[^"\\]|\\.)*)"|'([^']*)'/g, (_, double, single) =>
        (double ?? single ?? "").replace(/\\(["\\])/g, "$1"),
      ),
    );
  }
  return words;
}

/** For <input type="datetime-local">: local time without a zone. */
export function localInput(at: string | null | undefined): string {
  if (!at) return "";
  const date = new Date(at);
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

export function instantOf(local: string): string | undefined {
  return local ? new Date(local).toISOString() : undefined;
}
