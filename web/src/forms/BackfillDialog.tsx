import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { type BackfillPreview, createBackfill, type NewBackfill, previewBackfill } from "../api/calls";
import { environmentsQuery, jobsQuery } from "../api/queries";
import { Dialog } from "../ui/Dialog";
import { Fault, Field, Note } from "../ui/parts";
import { statusName } from "../ui/Status";
import { Time } from "../ui/Time";
import { count } from "../ui/time";
import { say } from "../ui/toasts";

type Draft = Record<"job" | "env" | "from" | "to" | "concurrency" | "order" | "existing" | "rerun", string>;
const EMPTY: Draft = {
  job: "",
  env: "",
  from: "",
  to: "",
  concurrency: "1",
  order: "oldest",
  existing: "leave",
  rerun: "",
};
const ORDERS = [
  ["oldest", "Oldest first"],
  ["newest", "Newest first"],
] as const;
const EXISTING = [
  ["leave", "Leave those that were ever started"],
  ["failed", "Run those that failed again"],
  ["anew", "Run all again"],
] as const;

/** The local date and time of an input as an instant. */
function instant(text: string): string | undefined {
  return text ? new Date(text).toISOString() : undefined;
}

function body(draft: Draft): NewBackfill {
  return {
    job: draft.job,
    env: draft.env,
    from: instant(draft.from) ?? "",
    to: instant(draft.to),
    concurrency: Number(draft.concurrency) || 1,
    order: draft.order as NewBackfill["order"],
    existing: draft.existing as NewBackfill["existing"],
    rerun: draft.rerun === "true",
  };
}

/** What to run, then what that would be, then go: a backfill is never started unseen. */
export function BackfillDialog({ onClose }: { onClose: () => void }) {
  const queries = useQueryClient();
  const [draft, setDraft] = useState(EMPTY);
  const [preview, setPreview] = useState<BackfillPreview>();
  const [error, setError] = useState<unknown>();
  const [busy, setBusy] = useState(false);
  const submit = async () => {
    setBusy(true);
    setError(undefined);
    try {
      if (!preview) {
        setPreview(await previewBackfill({ body: body(draft) }));
      } else {
        await createBackfill({ body: body(draft) });
        await queries.invalidateQueries({ queryKey: ["backfills"] });
        say("The backfill goes on by itself.");
        onClose();
      }
    } catch (problem) {
      setError(problem);
    }
    setBusy(false);
  };
  const footer = (
    <>
      <button type="button" className="button" onClick={preview ? () => setPreview(undefined) : onClose}>
        {preview ? "Back" : "Cancel"}
      </button>
      <button type="submit" className="button primary" disabled={busy || !draft.job || !draft.env || !draft.from}>
        {preview ? `Run ${count(preview.to_run)} due times` : "Preview"}
      </button>
    </>
  );
  return (
    <Dialog title="Run past due times" onClose={onClose} onSubmit={submit} footer={footer}>
      {preview ? (
        <Preview preview={preview} />
      ) : (
        <Fields draft={draft} set={(change) => setDraft({ ...draft, ...change })} />
      )}
      {error !== undefined && <Fault error={error} />}
    </Dialog>
  );
}

function Fields({ draft, set }: { draft: Draft; set: (change: Partial<Draft>) => void }) {
  const jobs = (useQuery(jobsQuery).data?.items ?? []).filter((job) => job.type === "scheduled");
  const environments = useQuery(environmentsQuery).data?.items ?? [];
  const choice = (name: keyof Draft, label: string, options: readonly (readonly [string, string])[]) => (
    <Field label={label}>
      {(attributes) => (
        <select
          {...attributes}
          className="input"
          value={draft[name]}
          onChange={(event) => set({ [name]: event.target.value })}
        >
          {options.map(([value, text]) => (
            <option key={value} value={value}>
              {text}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
  const input = (name: keyof Draft, label: string, type: string, hint?: string) => (
    <Field label={label} hint={hint}>
      {(attributes) => (
        <input
          {...attributes}
          className="input"
          type={type}
          min={type === "number" ? 1 : undefined}
          value={draft[name]}
          onChange={(event) => set({ [name]: event.target.value })}
        />
      )}
    </Field>
  );
  return (
    <>
      {choice("job", "Job", [["", "Choose a job"], ...jobs.map((job) => [job.name, job.name] as const)])}
      {choice("env", "Environment", [
        ["", "Choose an environment"],
        ...environments.map((env) => [env.name, env.name] as const),
      ])}
      {input("from", "From", "datetime-local")}
      {input("to", "To", "datetime-local", "Left empty: until now. The end itself is not in the range.")}
      {input("concurrency", "At a time", "number")}
      {choice("order", "Order", ORDERS)}
      {choice("existing", "Due times that have runs", EXISTING)}
      <label className="check">
        <input
          type="checkbox"
          checked={draft.rerun === "true"}
          onChange={(event) => set({ rerun: String(event.target.checked) })}
        />
        <span>
          Flag as re-runs <span className="muted">(KIRBY_RERUN=1)</span>
        </span>
      </label>
    </>
  );
}

function Preview({ preview }: { preview: BackfillPreview }) {
  const between = preview.total - preview.first.length - preview.last.length;
  return (
    <>
      <p>
        <strong>{count(preview.total)}</strong> due times of {preview.job} in {preview.env}: {count(preview.to_run)} to
        run
        {preview.left_alone > 0 && `, ${count(preview.left_alone)} have runs already and are left alone`}.
      </p>
      {preview.waits_for && <Note tone="warn">None would start now: {preview.waits_for}</Note>}
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached by keyboard. */}
      <section className="preview-list" tabIndex={0} aria-label="Due times">
        <ol>
          {preview.first.map((due) => (
            <Due key={due.due_at} due={due} />
          ))}
        </ol>
        {between > 0 && <p className="muted">… {count(between)} more …</p>}
        <ol>
          {preview.last.map((due) => (
            <Due key={due.due_at} due={due} />
          ))}
        </ol>
      </section>
    </>
  );
}

function Due({ due }: { due: BackfillPreview["first"][number] }) {
  return (
    <li>
      <Time at={due.due_at} />{" "}
      {!due.runs && <span className="muted">left alone: {statusName(due.status ?? "").toLowerCase()}</span>}
    </li>
  );
}
