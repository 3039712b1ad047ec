import { type ReactNode, useState } from "react";
import { Dialog } from "./Dialog";
import { Fault, Field } from "./parts";

interface ActionDialogProps {
  title: string;
  children: ReactNode;
  confirm: string;
  danger?: boolean;
  /** Asks for a reason, which the history will show. */
  reason?: boolean;
  onClose: () => void;
  act: (reason: string | undefined) => Promise<unknown>;
}

/** "Really?", with what happens then and, where it is recorded, why. */
export function ActionDialog({ title, children, confirm, danger, reason, onClose, act }: ActionDialogProps) {
  const [why, setWhy] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>();
  const submit = async () => {
    setBusy(true);
    setError(undefined);
    try {
      await act(why.trim() || undefined);
      onClose();
    } catch (problem) {
      setError(problem);
      setBusy(false);
    }
  };
  const footer = (
    <>
      <button type="button" className="button" onClick={onClose}>
        Keep it as it is
      </button>
      <button type="submit" className={`button ${danger ? "danger solid" : "primary"}`} disabled={busy}>
        {confirm}
      </button>
    </>
  );
  return (
    <Dialog title={title} onClose={onClose} onSubmit={submit} footer={footer}>
      <div>{children}</div>
      {reason && (
        <Field label="Reason" hint="Optional; shown in the history.">
          {(attributes) => (
            <input {...attributes} className="input" value={why} onChange={(event) => setWhy(event.target.value)} />
          )}
        </Field>
      )}
      {error !== undefined && <Fault error={error} />}
    </Dialog>
  );
}
