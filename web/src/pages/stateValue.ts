import type { StateVersion } from "../api/calls";

const MOST = 300;

/** A version's value on one line, cut where it is long. */
export function shownValue(version: StateVersion): string {
  if (version.deleted) return "(deleted)";
  if (version.stored) return `(large: ${version.stored})`;
  const text = version.base64 ?? JSON.stringify(version.value);
  return text.length > MOST ? `${text.slice(0, MOST)}…` : text;
}
