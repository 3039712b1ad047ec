/** A schedule while it is being edited, and as the api wants it. */
import type { Schedule } from "../api/calls";
import { instantOf, localInput } from "./pairs";

export type TimingKind = "every" | "cron" | "at";

export interface Timing {
  kind: TimingKind;
  every: string;
  expr: string;
  tz: string;
  dst: string;
  at: string;
}

export const HERE = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

export function newTiming(): Timing {
  return { kind: "every", every: "10m", expr: "0 6 * * *", tz: HERE, dst: "debian", at: "" };
}

export function timingOf(schedule: Schedule): Timing {
  return {
    ...newTiming(),
    kind: schedule.kind as TimingKind,
    every: schedule.every ?? "",
    expr: schedule.expr ?? "",
    tz: schedule.tz,
    dst: schedule.dst,
    at: localInput(schedule.at),
  };
}

/** Only what belongs to the kind: the api refuses a schedule that is two things. */
export function timingBody(timing: Timing) {
  if (timing.kind === "every") return { every: timing.every.trim() };
  if (timing.kind === "at") return { at: instantOf(timing.at) };
  return { expr: timing.expr.trim(), tz: timing.tz, dst: timing.dst as "debian" };
}

export function isComplete(timing: Timing): boolean {
  return Boolean({ every: timing.every, cron: timing.expr, at: timing.at }[timing.kind].trim());
}
