import { useQuery } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { previewException } from "../api/calls";
import { sentence } from "../api/problem";
import { Time } from "../ui/Time";
import { newExceptionBody } from "./exception";
import type { Values } from "./FormDialog";

const OUTCOMES = { runs: "runs", added: "runs instead", skipped: "skipped" } as const;

/** The next 50 due times as the exception would leave them, while it is filled in. */
export function ExceptionPreview({ values, replaces }: { values: Values; replaces: string | undefined }) {
  const [asked, setAsked] = useState(values);
  useEffect(() => {
    const timer = setTimeout(() => setAsked(values), 300);
    return () => clearTimeout(timer);
  }, [values]);
  const { reason, ...window } = newExceptionBody(asked);
  const body = { ...window, for_ever: true, n: 50, replaces: replaces ?? null };
  const query = useQuery({
    queryKey: ["exception-preview", body],
    queryFn: () => previewException({ body }),
    enabled: Boolean(window.target),
    retry: false,
    staleTime: 0,
  });
  if (!window.target) return null;
  if (query.error) return <p className="muted">No preview: {sentence(query.error)}</p>;
  const due = query.data?.due ?? [];
  const skipped = due.filter((each) => each.outcome === "skipped").length;
  return (
    <section aria-label="Next due times" aria-live="polite">
      {query.data && (
        <p className="muted">
          {due.length ? `Of the next ${due.length} due times ${skipped} would be skipped.` : "Nothing is due under it."}
        </p>
      )}
      {due.length > 0 && (
        <ul
          className="due-list"
          style={{ maxHeight: 220, overflowY: "auto" }}
          // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard.
          tabIndex={0}
        >
          {due.map((each) => (
            <li key={`${each.job}@${each.env} ${each.at}`} data-outcome={each.outcome}>
              <Time at={each.at} />
              <span>
                {each.job}@{each.env}
              </span>
              <span className={each.outcome === "skipped" ? "muted" : undefined} title={each.reason ?? undefined}>
                {OUTCOMES[each.outcome]}
                {each.outcome === "skipped" && !each.this && " by another"}
              </span>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}
