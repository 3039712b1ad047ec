import { useState } from "react";
import { Dialog } from "../ui/Dialog";
import { Fault, Field } from "../ui/parts";
import { pairsOf, wordsOf } from "./pairs";

interface TriggerDialogProps {
  job: string;
  env: string;
  onClose: () => void;
  trigger: (args: string[], variables: Record<string, string>) => Promise<void>;
}

export function TriggerDialog({ job, env, onClose, trigger }: TriggerDialogProps) {
  const [args, setArgs] = useState("");
  const [variables, setVariables] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>();
  const submit = async () => {
    setBusy(true);
    setError(undefined);
    try {
      await trigger(wordsOf(args), pairsOf(variables));
    } catch (problem) {
      setError(problem);
      setBusy(false);
    }
  };
  return (
    <Dialog
      title={`Run ${job} in ${env} now`}
      onClose={onClose}
      onSubmit={submit}
      footer={
        <>
          <button type="button" className="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" className="button primary" disabled={busy}>
            {busy ? "Starting…" : "Run"}
          </button>
        </>
      }
    >
      <Field label="Arguments" hint="Left empty: the job's own arguments.">
        {(attributes) => (
          <input
            {...attributes}
            className="input mono"
            value={args}
            onChange={(event) => setArgs(event.target.value)}
            placeholder="--day 2026-11-20"
          />
        )}
      </Field>
      <Field label="Extra variables" hint="NAME=value, one per line; for this run only.">
        {(attributes) => (
          <textarea
            {...attributes}
            className="input mono"
            rows={3}
            value={variables}
            onChange={(event) => setVariables(event.target.value)}
          />
        )}
      </Field>
      {error !== undefined && <Fault error={error} />}
    </Dialog>
  );
}
