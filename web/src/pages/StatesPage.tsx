import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { Link, useSearch } from "@tanstack/react-router";
import { listStateKeys, listStates, type StateSummary, type StateVersion } from "../api/calls";
import { PageHead } from "../ui/Page";
import { Command, Empty, Fault, Note, Skeleton } from "../ui/parts";
import { type Column, Table } from "../ui/Table";
import { Ago } from "../ui/Time";
import { KeyHistory } from "./KeyHistory";
import { shownValue } from "./stateValue";

/** The States; of one its keys; of a key its versions. */
export function StatesPage() {
  const { state, env = "prod", key } = useSearch({ from: "/shell/states" });
  if (!state) return <States />;
  const crumbs = (
    <>
      <Link to="/states">States</Link>
      {key && (
        <Link to="/states" search={{ state, env }}>
          {state}
        </Link>
      )}
    </>
  );
  return (
    <>
      <PageHead
        title={key ?? state}
        crumbs={crumbs}
        about={key ? `A key of the State ${state} in ${env}.` : `In ${env}. Every version of every key is kept.`}
      />
      {key ? <KeyHistory key={key} state={state} env={env} name={key} /> : <Keys state={state} env={env} />}
    </>
  );
}

function States() {
  const query = useQuery({ queryKey: ["states"], queryFn: () => listStates(), refetchInterval: 10_000 });
  const items = query.data?.items;
  return (
    <>
      <PageHead title="States" about="Tables that scripts share, and that remember every version of every key." />
      {items
        ?.filter((item) => item.problem)
        .map((item) => (
          <Note key={`${item.env}/${item.name}`} tone="fail">
            {item.name} in {item.env} is not read any further: {item.problem}
          </Note>
        ))}
      <section className="card" aria-label="States">
        {query.error && !items ? (
          <div className="body">
            <Fault error={query.error} retry={query.refetch} />
          </div>
        ) : !items ? (
          <Skeleton />
        ) : items.length ? (
          <Table label="States" columns={STATES} rows={items} rowKey={(item) => `${item.env}/${item.name}`} />
        ) : (
          <Empty icon="file" title="There is no State yet">
            <p>A script makes one with kirby.State, or you do:</p>
            <Command>{"kirby state set prices bread '{\"euro\": 3.2}'"}</Command>
          </Empty>
        )}
      </section>
    </>
  );
}

const STATES: Column<StateSummary>[] = [
  {
    title: "Name",
    narrow: "title",
    cell: (item) => (
      <Link to="/states" search={{ state: item.name, env: item.env }} className="name-cell">
        {item.name}
      </Link>
    ),
  },
  { title: "Environment", cell: (item) => item.env },
  { title: "Keys", align: "end", cell: (item) => <span className="num">{item.keys}</span> },
  { title: "Versions", align: "end", cell: (item) => <span className="num">{item.versions}</span> },
  { title: "Changed", keep: true, cell: (item) => (item.changed_at ? <Ago at={item.changed_at} /> : "") },
];

function Keys({ state, env }: { state: string; env: string }) {
  const query = useInfiniteQuery({
    queryKey: ["states", env, state, "keys"],
    queryFn: ({ pageParam }) => listStateKeys({ path: { name: state }, query: { env, cursor: pageParam } }),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next ?? undefined,
  });
  const columns: Column<StateVersion>[] = [
    {
      title: "Key",
      narrow: "title",
      cell: (item) => (
        <Link to="/states" search={{ state, env, key: item.key }} className="name-cell">
          {item.key}
        </Link>
      ),
    },
    { title: "Value", grow: true, narrow: "wide", cell: (item) => <code>{shownValue(item)}</code> },
    { title: "Version", align: "end", cell: (item) => <span className="num">{item.version}</span> },
    { title: "Changed", keep: true, cell: (item) => <Ago at={item.at} /> },
    { title: "By", keep: true, narrow: "hide", cell: (item) => item.by },
  ];
  const rows = query.data?.pages.flatMap((page) => page.items);
  return (
    <section className="card" aria-label="Keys">
      {query.error && !rows ? (
        <div className="body">
          <Fault error={query.error} retry={query.refetch} />
        </div>
      ) : !rows ? (
        <Skeleton />
      ) : rows.length ? (
        <Table label="Keys" columns={columns} rows={rows} rowKey={(item) => item.key} />
      ) : (
        <Empty icon="file" title="No key has a value now" />
      )}
      {query.hasNextPage && (
        <div className="body">
          <button type="button" className="button" onClick={() => query.fetchNextPage()}>
            More keys
          </button>
        </div>
      )}
    </section>
  );
}
