import { type ReactNode, useState } from "react";
import { Dialog } from "../ui/Dialog";
import { Fault, Field } from "../ui/parts";
import { say } from "../ui/toasts";

export interface FormField {
  name: string;
  label: string;
  /** `lines` is a text of several lines; `instant` a local date and time. */
  type: "text" | "lines" | "select" | "check" | "number" | "password" | "instant";
  hint?: string;
  placeholder?: string;
  required?: boolean;
  mono?: boolean;
  options?: readonly (readonly [string, string])[];
  /** Shown only while this holds. */
  when?: (values: Values) => boolean;
  /** Can't be changed any more. */
  fixed?: boolean;
}

export type Values = Record<string, string>;

interface FormDialogProps {
  title: string;
  submit: string;
  fields: readonly FormField[];
  values: Values;
  /** Throws what the user should read. */
  save: (values: Values) => Promise<unknown>;
  /** What is shown below the fields while they are filled in. */
  below?: (values: Values) => ReactNode;
  onClose: () => void;
}

export function FormDialog({ title, submit, fields, values: preset, save, below, onClose }: FormDialogProps) {
  const [values, setValues] = useState(preset);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>();
  const [tried, setTried] = useState(false);
  const shown = fields.filter((field) => !field.when || field.when(values));
  const missing = (field: FormField) => field.required && !values[field.name]?.trim();
  const onSubmit = async () => {
    setTried(true);
    if (shown.some(missing)) return;
    setBusy(true);
    setError(undefined);
    try {
      await save(values);
      say("Saved.");
      onClose();
    } catch (problem) {
      setError(problem);
      setBusy(false);
    }
  };
  const footer = (
    <>
      <button type="button" className="button" onClick={onClose}>
        Cancel
      </button>
      <button type="submit" className="button primary" disabled={busy}>
        {submit}
      </button>
    </>
  );
  return (
    <Dialog title={title} onClose={onClose} onSubmit={onSubmit} footer={footer}>
      {shown.map((field) => (
        <FieldInput
          key={field.name}
          field={field}
          value={values[field.name] ?? ""}
          fault={tried && missing(field) ? `${field.label} is needed.` : undefined}
          onChange={(value) => setValues({ ...values, [field.name]: value })}
        />
      ))}
      {below?.(values)}
      {error !== undefined && <Fault error={error} />}
    </Dialog>
  );
}

interface FieldInputProps {
  field: FormField;
  value: string;
  fault: string | undefined;
  onChange: (value: string) => void;
}

const INPUT_TYPES = { text: "text", number: "number", password: "password", instant: "datetime-local" } as const;

function FieldInput({ field, value, fault, onChange }: FieldInputProps) {
  if (field.type === "check") {
    return (
      <label className="check">
        <input
          type="checkbox"
          checked={value === "true"}
          onChange={(event) => onChange(String(event.target.checked))}
        />
        <span>
          {field.label}
          {field.hint && <span className="muted"> {field.hint}</span>}
        </span>
      </label>
    );
  }
  const className = `input ${field.mono ? "mono" : ""}`;
  return (
    <Field label={field.label} hint={field.hint} fault={fault}>
      {(attributes) => {
        if (field.type === "lines") {
          return (
            <textarea
              {...attributes}
              className={className}
              rows={4}
              value={value}
              placeholder={field.placeholder}
              onChange={(event) => onChange(event.target.value)}
            />
          );
        }
        if (field.type === "select") {
          return (
            <select
              {...attributes}
              className={className}
              value={value}
              disabled={field.fixed}
              onChange={(event) => onChange(event.target.value)}
            >
              {(field.options ?? []).map(([option, text]) => (
                <option key={option} value={option}>
                  {text}
                </option>
              ))}
            </select>
          );
        }
        return (
          <input
            {...attributes}
            className={className}
            type={INPUT_TYPES[field.type as keyof typeof INPUT_TYPES]}
            step={field.type === "instant" ? 1 : undefined}
            value={value}
            disabled={field.fixed}
            placeholder={field.placeholder}
            autoComplete={field.type === "password" ? "new-password" : "off"}
            onChange={(event) => onChange(event.target.value)}
          />
        );
      }}
    </Field>
  );
}
