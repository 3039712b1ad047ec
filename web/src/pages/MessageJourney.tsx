import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { getJourney, type LineageHop, type LineageTouch } from "../api/calls";
import { Fault, Note, Skeleton } from "../ui/parts";
import { type Column, Table } from "../ui/Table";
import { Ago } from "../ui/Time";

interface Props {
  topic: string;
  message: string;
  env: string;
}

/** Where a message comes from, hop by hop, and what came of it. */
export function MessageJourney({ topic, message, env }: Props) {
  const query = useQuery({
    queryKey: ["journey", env, topic, message],
    queryFn: () => getJourney({ query: { topic, message, env } }),
  });
  const found = query.data;
  if (query.error && !found) return <Fault error={query.error} retry={query.refetch} />;
  if (!found) return <Skeleton />;
  return (
    <>
      {found.rerun && <Note tone="warn">A re-run has made this message.</Note>}
      <section className="card" aria-label="Where it comes from">
        <header>
          <h2>Where it comes from</h2>
          <span className="muted">{found.trace ? `trace ${found.trace}` : ""}</span>
        </header>
        <div className="body">
          {found.dropped > 0 && <p className="muted">{found.dropped} older hops are not in its header any more.</p>}
          {found.hops.length === 0 && <p className="muted">Nobody knows: Kirby did not write it.</p>}
          <ol className="hops">
            {found.hops.map((hop) => (
              <HopItem key={`${hop.process} ${hop.output.topic} ${hop.output.place}`} hop={hop} />
            ))}
          </ol>
        </div>
      </section>
      <section className="card" aria-label="What came of it">
        <header>
          <h2>What came of it</h2>
        </header>
        {found.touched.length ? (
          <Table label="What came of it" columns={TOUCHES} rows={found.touched} rowKey={touchKey} />
        ) : (
          <p className="body muted">Nothing that is known yet.</p>
        )}
      </section>
      {found.expired && (
        <Note tone="wait" icon="info">
          Some of what came of it is not kept any more: its topic’s retention has deleted it.
        </Note>
      )}
      {found.more && (
        <Note tone="wait" icon="info">
          There is more: open one of these messages to go on from there.
        </Note>
      )}
    </>
  );
}

function HopItem({ hop }: { hop: LineageHop }) {
  return (
    <li>
      <div className="row">
        <Maker of={hop} />
        {hop.output.at ? <Ago at={hop.output.at} /> : <span className="muted">not kept any more</span>}
      </div>
      <p className="muted">
        {hop.inputs.length ? "read " : "read nothing"}
        {hop.inputs.map((range, number) => (
          <span key={`${range.topic} ${range.partition}:${range.from}`}>
            {number > 0 && ", "}
            <Place
              topic={range.topic}
              place={`${range.partition}:${range.from}`}
              upto={range.to - 1 > range.from ? range.to - 1 : undefined}
            />
          </span>
        ))}
        {", wrote "}
        <Place topic={hop.output.topic} place={hop.output.place} />
      </p>
    </li>
  );
}

function Maker({ of }: { of: Pick<LineageHop, "hidden" | "known" | "by" | "run_id" | "process" | "env"> }) {
  if (of.hidden) return <span className="muted">not yours to see</span>;
  if (!of.known) return <span className="muted">unknown process {of.process}</span>;
  const name = of.env ? `${of.by} in ${of.env}` : of.by;
  return of.run_id ? (
    <Link to="/runs/$runId" params={{ runId: of.run_id }} className="name-cell">
      {name}
    </Link>
  ) : (
    <strong>{name}</strong>
  );
}

interface PlaceProps {
  topic: string | null;
  place: string;
  upto?: number | undefined;
}

/** A message, by the name of its topic in Kafka; what may not be seen has none. */
function Place({ topic, place, upto }: PlaceProps) {
  return (
    <code>
      {topic ?? "?"} {place}
      {upto !== undefined && `–${upto}`}
    </code>
  );
}

const TOUCHES: Column<LineageTouch>[] = [
  { title: "By", keep: true, narrow: "title", cell: (touch) => <Maker of={touch} /> },
  {
    title: "What",
    grow: true,
    narrow: "wide",
    cell: (touch) => (
      <>
        <code>
          {touch.kind} {touch.name} {touch.message?.place}
        </code>
        {!touch.exact && <span className="muted"> for this message, or for one beside it</span>}
      </>
    ),
  },
  { title: "For", keep: true, cell: (touch) => <Place topic={touch.of.topic} place={touch.of.place} /> },
  { title: "When", keep: true, cell: (touch) => <Ago at={touch.at} /> },
];

function touchKey(touch: LineageTouch): string {
  return `${touch.process} ${touch.kind} ${touch.name} ${touch.message?.place} ${touch.of.topic} ${touch.of.place}`;
}
