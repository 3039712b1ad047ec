import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import type { FormEvent } from "react";
import { getLineageGraph, type LineageEdge, type LineageNode, listMessages, type TopicMessage } from "../api/calls";
import { environmentsQuery } from "../api/queries";
import { PageHead } from "../ui/Page";
import { Empty, Fault, Note, Skeleton } from "../ui/parts";
import { type Column, Table } from "../ui/Table";
import { Ago } from "../ui/Time";
import { aSecond, kindName, LineageGraph } from "./LineageGraph";
import { MessageJourney } from "./MessageJourney";

/** Who reads and writes what; of one message where it comes from and what came of it. */
export function LineagePage() {
  const { topic, message, env = "prod" } = useSearch({ from: "/shell/lineage" });
  if (!topic || !message) return <TheGraph />;
  return (
    <>
      <PageHead
        title={`${topic} ${message}`}
        crumbs={<Link to="/lineage">Lineage</Link>}
        about={`A message's journey, in ${env}.`}
      />
      <MessageJourney key={`${env} ${topic} ${message}`} topic={topic} message={message} env={env} />
    </>
  );
}

function TheGraph() {
  const { node, env } = useSearch({ from: "/shell/lineage" });
  const query = useQuery({
    queryKey: ["lineage", env],
    queryFn: () => getLineageGraph({ query: { env } }),
    refetchInterval: 10_000,
  });
  const graph = query.data;
  const chosen = graph?.nodes.find((each) => each.id === node);
  return (
    <>
      <PageHead title="Lineage" about="Who reads and writes what. Choose a topic to see its messages.">
        <EnvironmentChoice env={env} />
      </PageHead>
      <section className="card" aria-label="Graph">
        {query.error && !graph ? (
          <div className="body">
            <Fault error={query.error} retry={query.refetch} />
          </div>
        ) : !graph ? (
          <Skeleton />
        ) : graph.nodes.length ? (
          <LineageGraph graph={graph} chosen={node} env={env} />
        ) : (
          <Empty icon="topic" title="Nothing has been read or written yet">
            <p>Scripts that send with kirby.Topic show up here by themselves.</p>
          </Empty>
        )}
      </section>
      {chosen && graph && <Chosen node={chosen} edges={graph.edges} nodes={graph.nodes} env={env} />}
    </>
  );
}

function EnvironmentChoice({ env }: { env: string | undefined }) {
  const navigate = useNavigate();
  const known = useQuery(environmentsQuery).data?.items ?? [];
  return (
    <label className="row">
      <span>Environment</span>
      <select
        className="input"
        value={env ?? ""}
        onChange={(event) => navigate({ to: "/lineage", search: { env: event.target.value || undefined } })}
      >
        <option value="">all</option>
        {known.map((each) => (
          <option key={each.name} value={each.name}>
            {each.name}
          </option>
        ))}
      </select>
    </label>
  );
}

interface ChosenProps {
  node: LineageNode;
  nodes: readonly LineageNode[];
  edges: readonly LineageEdge[];
  env: string | undefined;
}

/** What is known of one box, and of a topic its newest messages. */
function Chosen({ node, nodes, edges, env }: ChosenProps) {
  const names = new Map(nodes.map((each) => [each.id, each]));
  const beside = edges.filter((edge) => edge.source === node.id || edge.target === node.id);
  const columns: Column<LineageEdge>[] = [
    {
      title: "What",
      narrow: "title",
      cell: (edge) => {
        const other = names.get(edge.source === node.id ? edge.target : edge.source);
        return other ? (
          <Link to="/lineage" search={{ node: other.id, env }} className="name-cell">
            {other.name}
          </Link>
        ) : null;
      },
    },
    { title: "How", cell: (edge) => way(node, edge) },
    { title: "Times", align: "end", cell: (edge) => <span className="num">{edge.count || ""}</span> },
    { title: "Rate", cell: (edge) => aSecond(edge.rate) },
    { title: "Last seen", keep: true, cell: (edge) => (edge.last_seen ? <Ago at={edge.last_seen} /> : "registered") },
  ];
  return (
    <section className="card" aria-label={node.name}>
      <header>
        <h2>{node.name}</h2>
        <span className="muted">
          {[kindName(node), node.env && `in ${node.env}`, node.versions?.join(", "), lag(node)]
            .filter(Boolean)
            .join(" · ")}
        </span>
      </header>
      <Table
        label={`Beside ${node.name}`}
        columns={columns}
        rows={beside}
        rowKey={(edge) => `${edge.source} ${edge.target}`}
      />
      {node.kind === "topic" && node.env && <Newest topic={node.name} env={node.env} />}
    </section>
  );
}

function way(node: LineageNode, edge: LineageEdge): string {
  const sent = edge.source === node.id;
  if (node.kind === "job") return sent ? "written" : "read";
  return sent ? "reads it" : "writes it";
}

function lag(node: LineageNode): string {
  return node.lag == null ? "" : `${node.lag} messages wait`;
}

/** The last messages of a topic. `topic` is its name in Kafka; the api wants it without the environment's prefix. */
function Newest({ topic, env }: { topic: string; env: string }) {
  const navigate = useNavigate();
  const prefix = useQuery(environmentsQuery).data?.items.find((each) => each.name === env)?.topic_prefix ?? "";
  const name = topic.startsWith(prefix) ? topic.slice(prefix.length) : topic;
  const query = useQuery({
    queryKey: ["messages", env, name],
    queryFn: () => listMessages({ path: { name }, query: { env, limit: 5 } }),
  });
  const find = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const message = String(new FormData(event.currentTarget).get("message"));
    void navigate({ to: "/lineage", search: { topic: name, message, env } });
  };
  const columns: Column<TopicMessage>[] = [
    {
      title: "Message",
      narrow: "title",
      cell: (item) => (
        <Link to="/lineage" search={{ topic: name, message: item.place, env }} className="name-cell">
          {item.place}
        </Link>
      ),
    },
    { title: "Key", keep: true, cell: (item) => item.key },
    {
      title: "Value",
      grow: true,
      narrow: "wide",
      cell: (item) => <code>{item.base64 ?? JSON.stringify(item.value)}</code>,
    },
    { title: "When", keep: true, cell: (item) => <Ago at={item.timestamp} /> },
  ];
  return (
    <>
      <form className="body row" onSubmit={find}>
        <label className="row">
          <span>Follow a message</span>
          <input name="message" className="input" pattern="\d+:\d+" placeholder="0:17" required size={10} />
        </label>
        <button type="submit" className="button">
          Follow
        </button>
      </form>
      {query.error && !query.data ? (
        <div className="body">
          <Note tone="wait" icon="info">
            {query.error.message}
          </Note>
        </div>
      ) : (
        query.data && (
          <Table
            label={`Newest messages of ${topic}`}
            columns={columns}
            rows={[...query.data.items].reverse()}
            rowKey={(item) => item.place}
          />
        )
      )}
    </>
  );
}
