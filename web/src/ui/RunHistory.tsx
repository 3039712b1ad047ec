import { useQuery } from "@tanstack/react-query";
import { listRunEvents } from "../api/calls";
import { Empty, Fault, Skeleton } from "./parts";
import { lineTime, utc } from "./time";

/** Every change of a run, as the ledger told it. */
export function RunHistory({ runId }: { runId: string }) {
  const query = useQuery({
    queryKey: ["run", runId, "events"],
    queryFn: () => listRunEvents({ path: { run_id: runId } }),
  });
  const events = query.data?.items;
  return (
    <section className="card" aria-label="History">
      {query.error ? (
        <div className="body">
          <Fault error={query.error} retry={query.refetch} />
        </div>
      ) : !events ? (
        <Skeleton />
      ) : events.length ? (
        <ol className="events">
          {events.map((event) => (
            <li key={`${event.at}/${event.what}/${event.grant}`}>
              <span title={utc(new Date(event.at))}>{lineTime(event.at)}</span>
              <span className="name-cell">{event.what}</span>
              <span className="muted">
                {[event.worker && `on ${event.worker}`, event.reason].filter(Boolean).join(": ")}
              </span>
            </li>
          ))}
        </ol>
      ) : (
        <Empty icon="history" title="No event is kept any more" />
      )}
    </section>
  );
}
