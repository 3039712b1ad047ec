import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import type { Alert } from "../api/calls";
import { alertsQuery } from "../api/queries";
import { Note } from "./parts";
import { Ago } from "./Time";

/** What should be and is not, right now. Nothing when all is as it should be. */
export function OpenAlerts() {
  const alerts = useQuery(alertsQuery);
  // That nobody leads or is alive the overview says by itself, at once and not after the grace.
  const items = (alerts.data?.items ?? []).filter((alert) => !alert.subject.startsWith("suite/"));
  if (items.length === 0) return null;
  return (
    <section aria-label="Alerts" className="stack">
      {items.map((alert) => (
        <Note key={alert.id} tone={alert.kind === "run_too_long" ? "warn" : "fail"}>
          <Subject alert={alert} /> {alert.reason}
          <span className="muted">
            {" "}
            · <Ago at={alert.opened_at} />
          </span>
        </Note>
      ))}
    </section>
  );
}

function Subject({ alert }: { alert: Alert }) {
  const { subject, job, env, run_id, kind } = alert;
  if (kind.startsWith("daemon_") && job) {
    return (
      <>
        <Link to="/daemons">{job}</Link> in {env}:
      </>
    );
  }
  if (run_id && job) {
    return (
      <>
        <Link to="/runs/$runId" params={{ runId: run_id }}>
          {job}
        </Link>{" "}
        in {env}:
      </>
    );
  }
  return <strong>{subject.replace("/", " ")}:</strong>;
}
