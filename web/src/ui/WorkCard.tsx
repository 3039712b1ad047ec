import { type ReactNode, useState } from "react";
import { sentence } from "../api/problem";
import { ActionDialog } from "./ActionDialog";
import { Icon, type IconName } from "./Icon";
import { Note } from "./parts";
import { Pill, type Tone } from "./Status";
import { say } from "./toasts";

/** What can be asked of it now: a button, and unless it does no harm, a question. */
export interface Order {
  name: string;
  icon: IconName;
  danger?: boolean;
  act: (reason: string | undefined) => Promise<unknown>;
  ask?: { title: string; confirm: string; text: string; reason?: boolean };
}

interface WorkCardProps {
  kind: "Rewind" | "Backfill";
  work: { id: string; job: string; env: string; reason?: string | null };
  state: readonly [Tone, IconName, string];
  tag?: string;
  orders: Order[];
  facts: ReactNode;
  children: ReactNode;
}

/** A rewind or a backfill: how it is, what can be asked of it, and its facts. */
export function WorkCard({ kind, work, state, tag, orders, facts, children }: WorkCardProps) {
  const [asking, setAsking] = useState<Order>();
  const [tone, icon, name] = state;
  const press = (order: Order) =>
    order.ask ? setAsking(order) : order.act(undefined).catch((error) => say(sentence(error), "fail"));
  return (
    <section className="card" aria-label={`${kind} of ${work.job} in ${work.env}, ${work.id.slice(0, 8)}`}>
      <header>
        <div className="context-head">
          <h2>{work.job}</h2>
          <span className="tag">{work.env}</span>
          {tag && <span className="tag">{tag}</span>}
          <Pill tone={tone} icon={icon}>
            {name}
          </Pill>
        </div>
        {orders.length > 0 && (
          <div className="row">
            {orders.map((order) => (
              <button
                key={order.name}
                type="button"
                className={order.danger ? "button danger" : "button"}
                onClick={() => press(order)}
              >
                <Icon name={order.icon} /> {order.name}
              </button>
            ))}
          </div>
        )}
      </header>
      <div className="body stack">
        {work.reason && (
          <Note tone={tone === "fail" || tone === "wait" ? tone : "warn"} icon="info">
            {work.reason}
          </Note>
        )}
        {children}
      </div>
      {facts}
      {asking?.ask && (
        <ActionDialog
          title={asking.ask.title}
          confirm={asking.ask.confirm}
          danger={asking.danger}
          reason={asking.ask.reason}
          onClose={() => setAsking(undefined)}
          act={asking.act}
        >
          {asking.ask.text}
        </ActionDialog>
      )}
    </section>
  );
}
