import { Link } from "@tanstack/react-router";
import * as api from "../../api/calls";
import { Time } from "../../ui/Time";
import { type KindOf, query } from "./kind";

export const schedules: KindOf<api.Schedule> = {
  title: "Schedules",
  one: "schedule",
  icon: "calendar",
  about: "When jobs run. A deployment makes its own, named JOB@ENV; several jobs may share one.",
  empty: "Deploy a script on schedule, or add a schedule to share:",
  command: "kirby deploy hello.py --job hello --env prod --schedule '*/5 * * * *'",
  list: () => api.listSchedules({ query }),
  name: (item) => item.name,
  columns: [
    { title: "Name", narrow: "title", cell: (item) => <span className="name-cell">{item.name}</span> },
    {
      title: "When",
      cell: (item) =>
        item.kind === "cron" ? (
          <code>{item.expr}</code>
        ) : item.kind === "at" ? (
          <Time at={item.at} />
        ) : (
          <>every {item.every}</>
        ),
    },
    { title: "Zone", cell: (item) => (item.kind === "cron" ? item.tz : <span className="muted">–</span>) },
    {
      title: "Used by",
      narrow: "wide",
      cell: (item) =>
        item.contexts?.length ? (
          <span className="row" style={{ gap: 6 }}>
            {item.contexts.map((context) => (
              <Link
                key={context}
                to="/job/$"
                params={{ _splat: context.slice(0, context.lastIndexOf("@")) }}
                className="tag"
              >
                {context}
              </Link>
            ))}
          </span>
        ) : (
          <span className="muted">nothing</span>
        ),
    },
  ],
  remove: (item) => api.deleteSchedule({ path: { ref: item.id } }),
};
