import type { Rewind } from "../api/calls";
import { Table } from "../ui/Table";
import { Ago } from "../ui/Time";
import { count } from "../ui/time";

type Comparison = NonNullable<Rewind["comparison"]>;
interface Row {
  name: string;
  same: number;
  changed: number;
  onlyOriginal: number | undefined;
  onlyShadow: number;
}
interface Difference {
  id: string;
  where: string;
  kind: string;
  name: string;
  original: string;
  shadow: string;
}
const KINDS = { changed: "changed", only_original: "only in the original", only_shadow: "only in the shadow" } as const;
const NOTHING = "—";

/** What a rewind in shadow made, held against what was there before. */
export function ShadowComparison({ comparison }: { comparison: Comparison }) {
  const differences = differencesOf(comparison);
  return (
    <>
      <Table<Row>
        label="Comparison"
        rows={rowsOf(comparison)}
        rowKey={(row) => row.name}
        columns={[
          { title: "What", cell: (row) => row.name, narrow: "title" },
          { title: "The same", cell: (row) => count(row.same), align: "end" },
          { title: "Changed", cell: (row) => count(row.changed), align: "end" },
          {
            title: "Only in the original",
            cell: (row) => (row.onlyOriginal === undefined ? NOTHING : count(row.onlyOriginal)),
            align: "end",
          },
          { title: "Only in the shadow", cell: (row) => count(row.onlyShadow), align: "end" },
        ]}
      />
      {differences.length > 0 && (
        <Table<Difference>
          label="Some of what differs"
          rows={differences}
          rowKey={(row) => row.id}
          columns={[
            { title: "Where", cell: (row) => row.where, narrow: "title" },
            { title: "Key", cell: (row) => row.name },
            { title: "How", cell: (row) => row.kind },
            { title: "Original", cell: (row) => <code>{row.original}</code>, narrow: "wide" },
            { title: "Shadow", cell: (row) => <code>{row.shadow}</code>, narrow: "wide" },
          ]}
        />
      )}
      <span className="muted">
        Compared <Ago at={comparison.at} />
      </span>
    </>
  );
}

function rowsOf(comparison: Comparison): Row[] {
  const topics = comparison.topics.map((topic) => ({
    name: topic.topic,
    same: topic.same,
    changed: topic.changed,
    onlyOriginal: topic.only_original,
    onlyShadow: topic.only_shadow,
  }));
  const states = comparison.states.map((state) => ({
    name: `State ${state.state}`,
    same: state.same,
    changed: state.changed,
    onlyOriginal: undefined,
    onlyShadow: state.only_shadow,
  }));
  return [...topics, ...states];
}

function differencesOf(comparison: Comparison): Difference[] {
  const messages = comparison.topics.flatMap((topic) =>
    topic.examples.map((example) => ({
      id: `${topic.topic} ${example.original?.place} ${example.shadow?.place}`,
      where: topic.topic,
      kind: KINDS[example.kind],
      name: example.key ?? NOTHING,
      original: example.original ? (example.original.value ?? "(deleted)") : NOTHING,
      shadow: example.shadow ? (example.shadow.value ?? "(deleted)") : NOTHING,
    })),
  );
  const keys = comparison.states.flatMap((state) =>
    state.examples.map((example) => ({
      id: `State ${state.state} ${example.key}`,
      where: `State ${state.state}`,
      kind: KINDS[example.kind],
      name: example.key,
      original: example.original ?? NOTHING,
      shadow: example.shadow ?? "(deleted)",
    })),
  );
  return [...messages, ...keys];
}
