import type { ContextSummary } from "../api/calls";
import { Pill } from "./Status";

/** Whether a job runs in an environment, and why not. `quiet`: says nothing when all is well. */
export function ContextState({ context, quiet }: { context: ContextSummary; quiet?: boolean }) {
  if (context.paused) {
    return (
      <Pill tone="warn" icon="pause">
        Paused
      </Pill>
    );
  }
  if (context.state === "enabling") {
    return (
      <Pill tone={/fail|refus|not in|cannot|can't/i.test(context.state_reason ?? "") ? "fail" : "run"} icon="spinner">
        Enabling
      </Pill>
    );
  }
  if (context.state === "disabled") {
    return (
      <Pill tone="wait" icon="skip">
        Disabled
      </Pill>
    );
  }
  if (quiet) return null;
  return (
    <Pill tone="ok" icon="check">
      Enabled
    </Pill>
  );
}
