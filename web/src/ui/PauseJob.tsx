import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { type Job, updateJob } from "../api/calls";
import { sentence } from "../api/problem";
import { ActionDialog } from "./ActionDialog";
import { Icon } from "./Icon";
import { say } from "./toasts";

/** Pauses a job in all its environments, those to come included; or lets it go on. */
export function PauseJob({ job }: { job: Job }) {
  const queries = useQueryClient();
  const [asking, setAsking] = useState(false);
  const change = (body: { paused: boolean; pause_reason?: string | undefined }) =>
    updateJob({ path: { ref: job.id }, body, headers: { "if-match": `"${job.rev}"` } }).then(() =>
      queries.invalidateQueries({ queryKey: ["jobs"] }),
    );
  if (job.paused) {
    return (
      <button
        type="button"
        className="button"
        onClick={() => change({ paused: false }).catch((error) => say(sentence(error), "fail"))}
      >
        <Icon name="play" /> Resume everywhere
      </button>
    );
  }
  return (
    <>
      <button type="button" className="button" onClick={() => setAsking(true)}>
        <Icon name="pause" /> Pause everywhere
      </button>
      {asking && (
        <ActionDialog
          title={`Pause ${job.name} everywhere?`}
          confirm="Pause"
          reason
          onClose={() => setAsking(false)}
          act={(reason) => change({ paused: true, pause_reason: reason })}
        >
          Its due times are skipped in all environments, and listed as such, until you resume. What runs already goes
          on.
        </ActionDialog>
      )}
    </>
  );
}
