import { Link } from "@tanstack/react-router";
import * as api from "../../api/calls";
import { Pill } from "../../ui/Status";
import { Ago, Time } from "../../ui/Time";
import { type KindOf, query } from "./kind";

export const scripts: KindOf<api.Script> = {
  title: "Packages",
  one: "package version",
  icon: "file",
  about: "Every version that was ever deployed, and where it runs now.",
  empty: "Deploy a script, and its versions show here:",
  command: "kirby deploy hello.py --job hello --env prod --every 10s",
  list: () => api.listScripts({ query }),
  name: (item) => `${item.package_name} ${item.package_version}`,
  columns: [
    {
      title: "Package",
      narrow: "title",
      cell: (item) => (
        <>
          <span className="name-cell">{item.package_name}</span>{" "}
          <span className="mono muted">{item.package_version}</span>
          {item.entry && <div className="muted mono">{item.entry}</div>}
        </>
      ),
    },
    { title: "Resolved", cell: (item) => <LockState lock={item.lock} /> },
    {
      title: "Runs in",
      narrow: "wide",
      cell: (item) =>
        item.contexts.length ? (
          <span className="row" style={{ gap: 6 }}>
            {item.contexts.map((context) => (
              <Link key={context.id} to="/job/$" params={{ _splat: context.job }} className="tag">
                {context.job} · {context.env}
              </Link>
            ))}
          </span>
        ) : (
          <span className="muted">nothing any more</span>
        ),
    },
    {
      title: "Topics",
      narrow: "wide",
      cell: (item) =>
        item.sources.length + item.destinations.length ? (
          `${item.sources.join(", ") || "·"} → ${item.destinations.join(", ") || "·"}`
        ) : (
          <span className="muted">–</span>
        ),
    },
    { title: "First seen", keep: true, narrow: "hide", cell: (item) => <Time at={item.first_seen} /> },
    { title: "Last seen", keep: true, cell: (item) => <Ago at={item.last_seen} /> },
  ],
};

function LockState({ lock }: { lock: api.Script["lock"] }) {
  if (!lock) return <span className="muted">–</span>;
  if (lock.status === "ready") {
    return (
      <Pill tone="ok" icon="check">
        Ready
      </Pill>
    );
  }
  if (lock.status !== "failed") {
    return (
      <Pill tone="run" icon="spinner">
        Being resolved
      </Pill>
    );
  }
  return (
    <>
      <Pill tone="fail" icon="cross">
        Failed
      </Pill>
      <div className="muted" style={{ fontSize: 12.5 }}>
        {lock.error}
      </div>
    </>
  );
}
