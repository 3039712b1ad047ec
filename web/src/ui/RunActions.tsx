import { useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { cancelRun, killRun, type Run, rerunRun } from "../api/calls";
import { sentence } from "../api/problem";
import { useMayWrite } from "../app/useMayWrite";
import { ActionDialog } from "./ActionDialog";
import { Icon } from "./Icon";
import { isEnded } from "./Status";
import { say } from "./toasts";

export function RunActions({ run }: { run: Run }) {
  const [asking, setAsking] = useState<"cancel" | "kill">();
  const mayWrite = useMayWrite();
  const queries = useQueryClient();
  const navigate = useNavigate();
  if (!mayWrite) return null;
  const path = { run_id: run.run_id };
  const ended = isEnded(run.status);
  const started = run.status === "RUNNING" || run.status === "LAUNCHING";
  const refresh = () => queries.invalidateQueries({ queryKey: ["run", run.run_id] });

  const rerun = async () => {
    try {
      const next = await rerunRun({ path });
      say("A new run with the same inputs was asked for.");
      void navigate({ to: "/runs/$runId", params: { runId: next.run_id } });
    } catch (error) {
      say(sentence(error), "fail");
    }
  };

  return (
    <>
      {!ended && !started && (
        <button type="button" className="button" onClick={() => setAsking("cancel")}>
          <Icon name="cross" /> Cancel
        </button>
      )}
      {started && (
        <button type="button" className="button danger" onClick={() => setAsking("kill")}>
          <Icon name="stop" /> Kill
        </button>
      )}
      {ended && run.kind !== "daemon" && (
        <button type="button" className="button" onClick={rerun}>
          <Icon name="retry" /> Run again
        </button>
      )}
      {asking === "cancel" && (
        <ActionDialog
          title="Cancel this run?"
          confirm="Cancel the run"
          reason
          onClose={() => setAsking(undefined)}
          act={(reason) => cancelRun({ path, body: { reason } }).then(refresh)}
        >
          It will not start. Later due times of the job are not touched.
        </ActionDialog>
      )}
      {asking === "kill" && (
        <ActionDialog
          title="Kill this run?"
          confirm="Kill the run"
          danger
          reason
          onClose={() => setAsking(undefined)}
          act={(reason) => killRun({ path, body: { reason } }).then(refresh)}
        >
          The script is asked to end (SIGTERM) and, after a grace time, ended with all its processes (SIGKILL).
        </ActionDialog>
      )}
    </>
  );
}
