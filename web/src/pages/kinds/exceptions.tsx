import * as api from "../../api/calls";
import { ExceptionPreview } from "../../forms/ExceptionPreview";
import { exceptionValues, newExceptionBody, openingBody } from "../../forms/exception";
import { Pill } from "../../ui/Status";
import { Time } from "../../ui/Time";
import { ifUnchanged, type KindOf, query } from "./kind";

export const exceptions: KindOf<api.ScheduleException> = {
  title: "Exceptions",
  one: "exception",
  icon: "pause",
  about:
    "Windows in which due times are skipped or thinned out. They end by themselves, and each skipped run names its exception.",
  empty: "When a source is down or a night is busy, pause or slow down what would run.",
  list: () => api.listExceptions({ query }),
  name: (item) => `${item.effect} of ${item.target}`,
  columns: [
    {
      title: "What",
      narrow: "title",
      cell: (item) => (
        <>
          <span className="tag">{item.scope}</span> <span className="name-cell">{item.target}</span>
        </>
      ),
    },
    {
      title: "Now",
      cell: (item) =>
        item.state === "active" ? (
          <Pill tone="warn" icon="pause">
            Active
          </Pill>
        ) : item.state === "upcoming" ? (
          <Pill tone="run" icon="clock">
            Upcoming
          </Pill>
        ) : (
          <span className="muted">Over</span>
        ),
    },
    { title: "Effect", cell: (item) => effectOf(item) },
    {
      title: "Open",
      keep: true,
      cell: (item) =>
        item.recurrence ? (
          <>
            <code>{item.recurrence}</code> for {item.lasts} <span className="muted">({item.tz})</span>
          </>
        ) : (
          <Time at={item.start} />
        ),
    },
    { title: "Until", keep: true, cell: (item) => <Time at={item.end} empty="further notice" /> },
    {
      title: "Why",
      narrow: "wide",
      cell: (item) => (
        <>
          {item.reason} <span className="muted">({item.author})</span>
        </>
      ),
    },
  ],
  fields: [
    {
      name: "scope",
      label: "What it is about",
      type: "select",
      options: [
        ["job", "A job"],
        ["context", "A job in one environment"],
        ["environment", "An environment"],
        ["schedule", "A schedule"],
        ["label", "Jobs with a label"],
      ],
      when: (values) => values.isNew === "true",
    },
    {
      name: "target",
      label: "Which",
      type: "text",
      required: true,
      hint: "Its name; job@env for a job in one environment; key=value for a label.",
      when: (values) => values.isNew === "true",
    },
    {
      name: "effect",
      label: "Effect",
      type: "select",
      options: [
        ["pause", "Pause: nothing starts"],
        ["nth", "Slow down: only every Nth due time starts"],
        ["cron", "Slow down: starts at other times instead"],
      ],
      when: (values) => values.isNew === "true",
    },
    { name: "every_nth", label: "N", type: "number", required: true, when: (values) => values.effect === "nth" },
    {
      name: "cron",
      label: "Cron expression",
      type: "text",
      mono: true,
      required: true,
      when: (values) => values.effect === "cron",
    },
    { name: "start", label: "From", type: "instant", required: true },
    { name: "end", label: "Until", type: "instant", hint: "Left empty: until it is removed." },
    { name: "recurs", label: "It recurs between the two:", type: "check", hint: "it opens again and again." },
    {
      name: "recurrence",
      label: "Opens at (cron)",
      type: "text",
      mono: true,
      required: true,
      when: (values) => values.recurs === "true",
    },
    {
      name: "lasts",
      label: "Lasts",
      type: "text",
      hint: "For example 90m or 2h.",
      required: true,
      when: (values) => values.recurs === "true",
    },
    {
      name: "tz",
      label: "Time zone of the expressions",
      type: "text",
      when: (values) => values.recurs === "true" || values.effect === "cron",
    },
    {
      name: "for_ever",
      label: "It is to pause for ever:",
      type: "check",
      hint: "until somebody removes it.",
      when: (values) => values.effect === "pause" && !values.end,
    },
    { name: "reason", label: "Why", type: "text", required: true },
  ],
  values: exceptionValues,
  below: (values, item) => <ExceptionPreview values={values} replaces={item?.id} />,
  create: (values) => api.createException({ body: newExceptionBody(values) }),
  update: (item, values) =>
    api.updateException({
      path: { ref: item.id },
      body: { ...openingBody(values), reason: values.reason },
      headers: ifUnchanged(item),
    }),
  remove: (item) => api.deleteException({ path: { ref: item.id } }),
};

function effectOf(item: api.ScheduleException) {
  if (item.effect === "pause") return "Paused";
  if (item.every_nth) return `One in ${item.every_nth} runs`;
  return (
    <>
      Runs at <code>{item.cron}</code>
    </>
  );
}
