import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { cancelRun, killRun, type Run, rerunRun } from "../api/calls";
import { sentence } from "../api/problem";
import { ActionDialog } from "./ActionDialog";
import { Icon } from "./Icon";
import { isEnded } from "./Status";
import { count } from "./time";
import { say } from "./toasts";

const STARTED = new Set(["RUNNING", "LAUNCHING"]);
const ORDERS = {
  cancel: { verb: "Cancel", done: "cancelled", icon: "cross", about: "They will not start." },
  kill: {
    verb: "Kill",
    done: "being killed",
    icon: "stop",
    about: "Their scripts are ended with all their processes.",
  },
  rerun: { verb: "Run again", done: "asked for again", icon: "retry", about: "New runs with the same inputs." },
} as const;
type Order = keyof typeof ORDERS;

/** Whether a run can be told so; the api has the last word, since runs go on meanwhile. */
function fits(order: Order, run: Run): boolean {
  if (order === "rerun") return isEnded(run.status) && run.kind !== "daemon";
  if (order === "kill") return STARTED.has(run.status);
  return !isEnded(run.status) && !STARTED.has(run.status);
}

function give(order: Order, run: Run, reason: string | undefined): Promise<unknown> {
  const path = { run_id: run.run_id };
  if (order === "rerun") return rerunRun({ path });
  return order === "kill" ? killRun({ path, body: { reason } }) : cancelRun({ path, body: { reason } });
}

interface BulkActionsProps {
  runs: readonly Run[];
  onDone: () => void;
}

/** Orders to the runs that are marked. */
export function BulkActions({ runs, onDone }: BulkActionsProps) {
  const queries = useQueryClient();
  const [asking, setAsking] = useState<Order>();
  const of = (order: Order) => runs.filter((run) => fits(order, run));
  const act = async (order: Order, reason: string | undefined) => {
    const outcomes = await Promise.allSettled(of(order).map((run) => give(order, run, reason)));
    const refused = outcomes.filter((outcome) => outcome.status === "rejected");
    if (refused.length < outcomes.length) say(`${count(outcomes.length - refused.length)} ${ORDERS[order].done}.`);
    // One sentence stands for them all: they were refused for much the same reason.
    if (refused[0]) say(`${count(refused.length)} refused: ${sentence(refused[0].reason)}`, "fail");
    await queries.invalidateQueries({ queryKey: ["runs"] });
    onDone();
  };
  return (
    <section className="bulk" aria-label="Orders to the marked runs">
      <span>{count(runs.length)} marked</span>
      {(Object.keys(ORDERS) as Order[]).map((order) => (
        <button
          key={order}
          type="button"
          className={`button ${order === "kill" ? "danger" : ""}`}
          disabled={!of(order).length}
          onClick={() => setAsking(order)}
        >
          <Icon name={ORDERS[order].icon} /> {ORDERS[order].verb}
          {of(order).length > 0 && ` (${count(of(order).length)})`}
        </button>
      ))}
      <button type="button" className="button quiet" onClick={onDone}>
        Clear marks
      </button>
      {asking && (
        <ActionDialog
          title={`${ORDERS[asking].verb}: ${count(of(asking).length)} runs?`}
          confirm={ORDERS[asking].verb}
          danger={asking === "kill"}
          reason={asking !== "rerun"}
          onClose={() => setAsking(undefined)}
          act={(reason) => act(asking, reason)}
        >
          {ORDERS[asking].about}
        </ActionDialog>
      )}
    </section>
  );
}
