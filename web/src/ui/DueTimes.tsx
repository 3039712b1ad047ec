import { useQuery } from "@tanstack/react-query";
import { type Context, previewSchedule } from "../api/calls";
import { schedulesQuery } from "../api/queries";
import { Ago, Time } from "./Time";

/** The next due times of a context: the first as the scheduler has it, the others from its schedules.
 * `jitter`: its runs start up to so much later. */
export function DueTimes({ context, jitter }: { context: Context; jitter?: unknown }) {
  const schedules = (useQuery(schedulesQuery).data?.items ?? []).filter((schedule) =>
    context.schedules?.includes(schedule.name),
  );
  const preview = useQuery({
    queryKey: ["preview", schedules],
    enabled: schedules.length > 0 && context.state === "enabled" && !context.paused,
    refetchInterval: 20_000,
    queryFn: async () => {
      const all = await Promise.all(
        schedules.map(({ kind, expr, tz, dst, every, anchor, at }) =>
          previewSchedule({ body: { kind, expr, tz, dst, every, anchor, at, n: 3 } as never }),
        ),
      );
      return [...new Set(all.flatMap((each) => each.due))].sort().slice(0, 3);
    },
  });
  const due = preview.data ?? (context.next_due_at ? [context.next_due_at] : []);
  if (!due.length) return <span className="muted">nothing due</span>;
  return (
    <>
      <ul className="due-list">
        {due.map((at) => (
          <li key={at}>
            <Time at={at} />
            <span className="muted">
              <Ago at={at} />
            </span>
          </li>
        ))}
      </ul>
      {isSome(jitter) && <span className="muted">Jitter: a run starts up to {seconds(jitter)} later.</span>}
    </>
  );
}

function isSome(jitter: unknown): jitter is string | number {
  return (typeof jitter === "string" || typeof jitter === "number") && Number.parseFloat(`${jitter}`) > 0;
}

/** A duration as it was typed; a number alone is of seconds. */
function seconds(duration: string | number): string {
  return /^[\d.]+$/.test(`${duration}`) ? `${duration} s` : `${duration}`;
}
