/** The steps of a deployment, one card each. */
import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import type { Job } from "../api/calls";
import { environmentsQuery, jobsQuery } from "../api/queries";
import { Field, Segments } from "../ui/parts";
import { DeployFields } from "./DeployFields";
import type { DeploymentForm } from "./deployment";
import { PackageDrop, type Uploaded } from "./PackageDrop";
import { TimingFields } from "./TimingFields";

export interface StepProps {
  form: DeploymentForm;
  set: (change: Partial<DeploymentForm>) => void;
  /** The job of this name, when there is one. */
  known: Job | undefined;
}

function Step({ number, title, children }: { number: number; title: string; children: ReactNode }) {
  return (
    <section className="card step" aria-label={title}>
      <header>
        <h2>
          {number} · {title}
        </h2>
      </header>
      <div className="body stack">{children}</div>
    </section>
  );
}

interface TextFieldProps {
  label: string;
  hint?: string;
  value: string;
  placeholder?: string;
  /** Names to choose from; others may be typed. */
  names?: readonly string[];
  onChange: (value: string) => void;
}

function TextField({ label, hint, value, placeholder, names, onChange }: TextFieldProps) {
  return (
    <Field label={label} hint={hint}>
      {(attributes) => (
        <>
          <input
            {...attributes}
            className="input"
            required
            list={names && `${attributes.id}-names`}
            value={value}
            placeholder={placeholder}
            onChange={(event) => onChange(event.target.value)}
          />
          {names && (
            <datalist id={`${attributes.id}-names`}>
              {names.map((name) => (
                <option key={name} value={name} />
              ))}
            </datalist>
          )}
        </>
      )}
    </Field>
  );
}

export function PackageStep({ form, set, onUploaded }: StepProps & { onUploaded: (uploaded: Uploaded) => void }) {
  return (
    <Step number={1} title="Package">
      <PackageDrop onPackage={onUploaded} />
      <div className="form-grid">
        <TextField
          label="Package"
          hint="From the private index, else the public one."
          value={form.packageName}
          onChange={(packageName) => set({ packageName })}
        />
        <TextField
          label="Version"
          placeholder="1.0.0"
          value={form.packageVersion}
          onChange={(packageVersion) => set({ packageVersion })}
        />
      </div>
    </Step>
  );
}

export function JobStep({ form, set, known }: StepProps) {
  const jobs = useQuery(jobsQuery).data?.items ?? [];
  const environments = useQuery(environmentsQuery).data?.items ?? [];
  return (
    <Step number={2} title="Job">
      <div className="form-grid">
        <TextField
          label="Job"
          hint={known ? `This job exists: it will run the new version in ${form.env}.` : "A new name makes a new job."}
          names={jobs.map((job) => job.name)}
          value={form.job}
          onChange={(job) => set({ job })}
        />
        <TextField
          label="Environment"
          names={environments.map((env) => env.name)}
          value={form.env}
          onChange={(env) => set({ env })}
        />
      </div>
      {!known && (
        <Segments
          label="Type of job"
          value={form.type}
          options={[
            ["scheduled", "Scheduled"],
            ["daemon", "Daemon"],
          ]}
          onChange={(type) => set({ type })}
        />
      )}
      <DeployFields form={form} type={known?.type ?? form.type} onChange={set} />
    </Step>
  );
}

export function ScheduleStep({ form, set, known }: StepProps) {
  return (
    <Step number={3} title="Schedule">
      <label className="check">
        <input
          type="checkbox"
          checked={form.scheduled}
          onChange={(event) => set({ scheduled: event.target.checked })}
        />
        <span>{known ? "Set the schedule (else it stays as it is)" : "Run it on schedule (else only when asked)"}</span>
      </label>
      {form.scheduled && <TimingFields timing={form.timing} onChange={(timing) => set({ timing })} />}
      <label className="check">
        <input type="checkbox" checked={form.runNow} onChange={(event) => set({ runNow: event.target.checked })} />
        <span>Run it once right away, and show its log</span>
      </label>
    </Step>
  );
}
