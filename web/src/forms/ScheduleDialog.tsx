import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { createSchedule, type Schedule, updateSchedule } from "../api/calls";
import { Dialog } from "../ui/Dialog";
import { Fault, Field } from "../ui/parts";
import { say } from "../ui/toasts";
import { TimingFields } from "./TimingFields";
import { newTiming, timingBody, timingOf } from "./timing";

export function ScheduleDialog({ schedule, onClose }: { schedule: Schedule | undefined; onClose: () => void }) {
  const queries = useQueryClient();
  const [name, setName] = useState(schedule?.name ?? "");
  const [timing, setTiming] = useState(schedule ? timingOf(schedule) : newTiming());
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>();
  const submit = async () => {
    setBusy(true);
    setError(undefined);
    const body = timingBody(timing);
    try {
      if (schedule)
        await updateSchedule({ path: { ref: schedule.id }, body, headers: { "if-match": `"${schedule.rev}"` } });
      else await createSchedule({ body: { name, ...body } });
      await queries.invalidateQueries({ queryKey: ["schedules"] });
      void queries.invalidateQueries({ queryKey: ["jobs"] });
      say("Saved.");
      onClose();
    } catch (problem) {
      setError(problem);
      setBusy(false);
    }
  };
  return (
    <Dialog
      title={schedule ? `Edit ${schedule.name}` : "New schedule"}
      wide
      onClose={onClose}
      onSubmit={submit}
      footer={
        <>
          <button type="button" className="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" className="button primary" disabled={busy}>
            Save
          </button>
        </>
      }
    >
      {!schedule && (
        <Field label="Name">
          {(attributes) => (
            <input
              {...attributes}
              className="input"
              value={name}
              onChange={(event) => setName(event.target.value)}
              placeholder="nightly"
            />
          )}
        </Field>
      )}
      <TimingFields timing={timing} onChange={setTiming} />
      {error !== undefined && <Fault error={error} />}
    </Dialog>
  );
}
