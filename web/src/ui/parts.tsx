import { type ReactNode, useId, useState } from "react";
import { sentence } from "../api/problem";
import { Icon, type IconName } from "./Icon";
import type { Tone } from "./Status";

export function Note({
  tone,
  icon,
  children,
  action,
}: {
  tone: Tone;
  icon?: IconName;
  children: ReactNode;
  action?: ReactNode;
}) {
  return (
    <div className={`note tone-${tone}`}>
      <Icon name={icon ?? (tone === "ok" ? "check" : "alert")} />
      <div className="grow">{children}</div>
      {action}
    </div>
  );
}

/** What went wrong, in the api's own sentence, and a way on. */
export function Fault({ error, retry }: { error: unknown; retry?: (() => void) | undefined }) {
  return (
    <div role="alert">
      <Note
        tone="fail"
        action={
          retry && (
            <button type="button" className="button" onClick={retry}>
              Try again
            </button>
          )
        }
      >
        {sentence(error)}
      </Note>
    </div>
  );
}

export function Empty({ icon, title, children }: { icon: IconName; title: string; children?: ReactNode }) {
  return (
    <div className="empty">
      <span className="glyph">
        <Icon name={icon} size={20} />
      </span>
      <strong>{title}</strong>
      {children}
    </div>
  );
}

/** A command to type, with a button that copies it. */
export function Command({ children }: { children: string }) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    await navigator.clipboard?.writeText(children);
    setCopied(true);
    setTimeout(() => setCopied(false), 1500);
  };
  return (
    <div className="command">
      <code>{children}</code>
      <button
        type="button"
        className="button quiet icon"
        aria-label={copied ? "Copied" : `Copy: ${children}`}
        onClick={copy}
      >
        <Icon name={copied ? "check" : "copy"} />
      </button>
    </div>
  );
}

const WIDTHS = ["82%", "64%", "73%", "58%", "77%", "69%"];

export function Skeleton({ rows = 4 }: { rows?: number }) {
  return (
    <div className="stack body" role="status" aria-label="Loading" style={{ padding: 16 }}>
      {Array.from({ length: rows }, (_, row) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: the rows are alike and never move.
        <span key={row} className="skeleton" style={{ width: WIDTHS[row % WIDTHS.length] }} />
      ))}
    </div>
  );
}

interface FieldProps {
  label: string;
  hint?: ReactNode;
  fault?: string | undefined;
  children: (attributes: { id: string; "aria-describedby": string; "aria-invalid": boolean }) => ReactNode;
}

export function Field({ label, hint, fault, children }: FieldProps) {
  const id = useId();
  const about = `${id}-about`;
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      {children({ id, "aria-describedby": about, "aria-invalid": Boolean(fault) })}
      <div id={about} aria-live="polite">
        {fault ? <span className="fault">{fault}</span> : hint && <span className="hint">{hint}</span>}
      </div>
    </div>
  );
}

interface SegmentsProps<T extends string> {
  label: string;
  value: T;
  options: readonly (readonly [T, string])[];
  onChange: (value: T) => void;
}

export function Segments<T extends string>({ label, value, options, onChange }: SegmentsProps<T>) {
  const name = useId();
  return (
    <fieldset className="segments" aria-label={label}>
      {options.map(([option, text]) => (
        <label key={option}>
          <input type="radio" name={name} checked={value === option} onChange={() => onChange(option)} />
          <span>{text}</span>
        </label>
      ))}
    </fieldset>
  );
}

export function Labels({ labels }: { labels: Record<string, unknown> | undefined }) {
  const pairs = Object.entries(labels ?? {});
  if (!pairs.length) return null;
  return (
    <>
      {pairs.map(([name, value]) => (
        <span key={name} className="tag">
          {name}={String(value)}
        </span>
      ))}
    </>
  );
}
