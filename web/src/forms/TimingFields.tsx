import { useQuery } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { previewSchedule } from "../api/calls";
import { sentence } from "../api/problem";
import { Field, Segments } from "../ui/parts";
import { Ago, Time } from "../ui/Time";
import { isComplete, type Timing, timingBody } from "./timing";

const KINDS = [
  ["every", "Every …"],
  ["cron", "Cron"],
  ["at", "Once"],
] as const;

const ZONES = typeof Intl.supportedValuesOf === "function" ? ["UTC", ...Intl.supportedValuesOf("timeZone")] : ["UTC"];

const CRON_IDEAS = [
  ["*/5 * * * *", "every 5 minutes"],
  ["0 * * * *", "hourly"],
  ["0 6 * * *", "daily at 6"],
  ["0 8 * * 1-5", "weekdays at 8"],
  ["0 0 1 * *", "monthly"],
] as const;

/** When something runs, with its next due times as it is typed. */
export function TimingFields({ timing, onChange }: { timing: Timing; onChange: (timing: Timing) => void }) {
  const preview = usePreview(timing);
  const fault = preview.error ? sentence(preview.error) : undefined;
  const set = (change: Partial<Timing>) => onChange({ ...timing, ...change });
  return (
    <div className="stack">
      <Segments label="Kind of schedule" value={timing.kind} options={KINDS} onChange={(kind) => set({ kind })} />
      <div className="form-grid">
        {timing.kind === "every" && (
          <Field label="Interval" hint="For example 10s, 5m, 1h30m, 2d." fault={fault}>
            {(attributes) => (
              <input
                {...attributes}
                className="input mono"
                value={timing.every}
                onChange={(event) => set({ every: event.target.value })}
              />
            )}
          </Field>
        )}
        {timing.kind === "cron" && (
          <>
            <Field
              label="Cron expression"
              hint="minute hour day month weekday; six fields begin with seconds."
              fault={fault}
            >
              {(attributes) => (
                <input
                  {...attributes}
                  className="input mono"
                  value={timing.expr}
                  onChange={(event) => set({ expr: event.target.value })}
                />
              )}
            </Field>
            <Field label="Time zone">
              {(attributes) => (
                <>
                  <input
                    {...attributes}
                    className="input"
                    list="zones"
                    value={timing.tz}
                    onChange={(event) => set({ tz: event.target.value })}
                  />
                  <datalist id="zones">
                    {ZONES.map((zone) => (
                      <option key={zone} value={zone} />
                    ))}
                  </datalist>
                </>
              )}
            </Field>
            <Field label="When the clocks change">
              {(attributes) => (
                <select
                  {...attributes}
                  className="input"
                  value={timing.dst}
                  onChange={(event) => set({ dst: event.target.value })}
                >
                  <option value="debian">Run once, right after a gap</option>
                  <option value="skip_gap">Skip times that do not exist</option>
                  <option value="utc">Read the expression in UTC</option>
                </select>
              )}
            </Field>
          </>
        )}
        {timing.kind === "at" && (
          <Field label="At" hint="Your local time." fault={fault}>
            {(attributes) => (
              <input
                {...attributes}
                className="input"
                type="datetime-local"
                step={1}
                value={timing.at}
                onChange={(event) => set({ at: event.target.value })}
              />
            )}
          </Field>
        )}
      </div>
      {timing.kind === "cron" && (
        <div className="row" style={{ gap: 4 }}>
          {CRON_IDEAS.map(([expr, text]) => (
            <button key={expr} type="button" className="button quiet" onClick={() => set({ expr })}>
              {text}
            </button>
          ))}
        </div>
      )}
      <section aria-label="Next due times" aria-live="polite">
        {preview.due && (
          <ul className="due-list" style={{ maxWidth: 380 }}>
            {preview.due.map((at) => (
              <li key={at}>
                <Time at={at} />
                <span className="muted">
                  <Ago at={at} />
                </span>
              </li>
            ))}
          </ul>
        )}
      </section>
    </div>
  );
}

function usePreview(timing: Timing) {
  const [asked, setAsked] = useState(timing);
  useEffect(() => {
    const timer = setTimeout(() => setAsked(timing), 250);
    return () => clearTimeout(timer);
  }, [timing]);
  const query = useQuery({
    queryKey: ["preview", timingBody(asked)],
    queryFn: () => previewSchedule({ body: { ...timingBody(asked), n: 5 } }),
    enabled: isComplete(asked),
    retry: false,
    staleTime: 0,
  });
  return {
    due: isComplete(asked) && !query.error ? query.data?.due : undefined,
    error: isComplete(asked) ? query.error : undefined,
  };
}
