import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import type { Delivery } from "../api/calls";
import { deliveriesQuery } from "../api/queries";
import type { IconName } from "../ui/Icon";
import { PageHead } from "../ui/Page";
import { Empty, Fault, Skeleton } from "../ui/parts";
import { Pill, type Tone } from "../ui/Status";
import { type Column, Table } from "../ui/Table";
import { Ago, Time } from "../ui/Time";

const LOOKS: Record<string, [Tone, IconName, string]> = {
  delivered: ["ok", "check", "Delivered"],
  pending: ["wait", "clock", "Waiting"],
  failed: ["fail", "cross", "Given up"],
};

const COLUMNS: readonly Column<Delivery>[] = [
  {
    title: "State",
    narrow: "lead",
    keep: true,
    cell: (item) => {
      const [tone, icon, name] = LOOKS[item.state] ?? (["wait", "question", item.state] as const);
      return (
        <Pill tone={tone} icon={icon}>
          {name}
        </Pill>
      );
    },
  },
  {
    title: "About",
    narrow: "title",
    cell: (item) => (
      <>
        <Link to="/runs/$runId" params={{ runId: item.run_id }} className="name-cell">
          {item.job}
        </Link>{" "}
        <span className="tag">{item.env}</span> <span className="muted">{item.type}</span>
      </>
    ),
  },
  {
    title: "To",
    narrow: "wide",
    grow: true,
    cell: (item) => (
      <>
        <span className="mono breaks">{item.target}</span> <span className="muted">{item.group}</span>
        <Last item={item} />
      </>
    ),
  },
  { title: "Tries", keep: true, cell: (item) => <span className="num">{item.attempts}</span> },
  { title: "Since", keep: true, narrow: "corner", cell: (item) => <Ago at={item.created_at} /> },
  {
    title: "Next try",
    keep: true,
    cell: (item) => (item.state === "pending" ? <Time at={item.next_at} /> : <span className="muted">–</span>),
  },
];

/** What the last try met, when it was not taken. */
function Last({ item }: { item: Delivery }) {
  const last = item.log.at(-1);
  if (!last || item.state === "delivered") return null;
  return <div className="muted">{last.error ?? (last.status ? `answered ${last.status}` : "no answer was seen")}</div>;
}

/** The notifier's delivery log, newest first. */
export function DeliveriesPage() {
  const [cursor, setCursor] = useState<string>();
  const deliveries = useQuery(deliveriesQuery(cursor));
  return (
    <>
      <PageHead title="Deliveries" about="What was sent to whom of failures and retries, and how it went." />
      <section className="card" aria-label="Deliveries">
        {deliveries.error ? (
          <div className="body">
            <Fault error={deliveries.error} retry={deliveries.refetch} />
          </div>
        ) : !deliveries.data ? (
          <Skeleton />
        ) : deliveries.data.items.length ? (
          <Table label="Deliveries" columns={COLUMNS} rows={deliveries.data.items} rowKey={(item) => item.id} />
        ) : (
          <Empty icon="bell" title="Nothing was sent yet">
            <p>When a run fails, those who want to know are told.</p>
            <Link to="/notifications" className="button">
              Who is told of what
            </Link>
          </Empty>
        )}
      </section>
      <nav className="row end" aria-label="Pages of the list">
        {cursor && (
          <button type="button" className="button" onClick={() => setCursor(undefined)}>
            Newest
          </button>
        )}
        {deliveries.data?.next && (
          <button type="button" className="button" onClick={() => setCursor(deliveries.data.next ?? undefined)}>
            Older
          </button>
        )}
      </nav>
    </>
  );
}
