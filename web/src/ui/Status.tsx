import { Icon, type IconName } from "./Icon";

export type Tone = "ok" | "fail" | "run" | "wait" | "warn" | "odd";

const LOOKS: Record<string, [Tone, IconName, string]> = {
  PENDING: ["wait", "clock", "Pending"],
  CLAIMED: ["wait", "clock", "Preparing"],
  LAUNCHING: ["run", "bolt", "Launching"],
  RUNNING: ["run", "spinner", "Running"],
  RETRYING: ["warn", "retry", "Retrying"],
  SUCCEEDED: ["ok", "check", "Succeeded"],
  FAILED: ["fail", "cross", "Failed"],
  KILLED: ["odd", "stop", "Killed"],
  LOST: ["odd", "question", "Lost"],
  MISSED: ["warn", "alert", "Missed"],
  SKIPPED: ["wait", "skip", "Skipped"],
  CANCELLED: ["wait", "skip", "Cancelled"],
};

export const STATUSES = Object.keys(LOOKS);

const ENDED = new Set(["SUCCEEDED", "FAILED", "KILLED", "LOST", "MISSED", "SKIPPED", "CANCELLED"]);

export function isEnded(status: string): boolean {
  return ENDED.has(status);
}

export function toneOf(status: string): Tone {
  return LOOKS[status]?.[0] ?? "wait";
}

export function statusName(status: string): string {
  return LOOKS[status]?.[2] ?? status;
}

export function Status({ status }: { status: string }) {
  const [tone, icon, name] = LOOKS[status] ?? (["wait", "question", status] as const);
  return (
    <span className={`status tone-${tone}`} data-status={status}>
      <Icon name={icon} size={13} />
      {name}
    </span>
  );
}

/** A word with a tone, for states other than those of a run. */
export function Pill({ tone, icon, children }: { tone: Tone; icon: IconName; children: React.ReactNode }) {
  return (
    <span className={`status tone-${tone}`}>
      <Icon name={icon} size={13} />
      {children}
    </span>
  );
}
