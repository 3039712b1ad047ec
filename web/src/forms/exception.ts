/** An exception while it is being edited, and as the api wants it. */
import type { NewException, ScheduleException } from "../api/calls";
import type { Values } from "./FormDialog";
import { instantOf, localInput } from "./pairs";
import { HERE } from "./timing";

export function exceptionValues(item: ScheduleException | undefined): Values {
  return {
    isNew: String(!item),
    scope: item?.scope ?? "job",
    target: item?.target ?? "",
    effect: !item || item.effect === "pause" ? "pause" : item.cron ? "cron" : "nth",
    every_nth: String(item?.every_nth ?? 5),
    cron: item?.cron ?? "0 * * * *",
    start: localInput(item?.start ?? new Date().toISOString()),
    end: localInput(item?.end),
    recurs: String(Boolean(item?.recurrence)),
    recurrence: item?.recurrence ?? "0 2 * * *",
    lasts: item?.lasts ?? "1h",
    tz: item?.tz ?? HERE,
    for_ever: "false",
    reason: item?.reason ?? "",
  };
}

/** When it is open and how far it slows down: what may be changed later, too. */
export function openingBody(values: Values) {
  const recurs = values.recurs === "true";
  return {
    every_nth: values.effect === "nth" ? Number(values.every_nth) : null,
    cron: values.effect === "cron" ? (values.cron ?? "").trim() : null,
    start: instantOf(values.start ?? "") ?? null,
    end: instantOf(values.end ?? "") ?? null,
    recurrence: recurs ? (values.recurrence ?? "").trim() : null,
    lasts: recurs ? (values.lasts ?? "").trim() : null,
    tz: values.tz?.trim() || "UTC",
    for_ever: values.for_ever === "true",
  };
}

export function newExceptionBody(values: Values): NewException {
  return {
    scope: values.scope as "job",
    target: (values.target ?? "").trim(),
    effect: values.effect === "pause" ? "pause" : "slow",
    reason: values.reason ?? "",
    ...openingBody(values),
  };
}
