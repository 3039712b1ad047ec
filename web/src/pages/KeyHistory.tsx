import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { diffStateVersions, listStateHistory, restoreStateValue, type StateVersion } from "../api/calls";
import { useMayWrite } from "../app/useMayWrite";
import { ActionDialog } from "../ui/ActionDialog";
import { Empty, Fault, Skeleton } from "../ui/parts";
import { type Column, Table } from "../ui/Table";
import { Ago } from "../ui/Time";
import { shownValue } from "./stateValue";

interface KeyProps {
  state: string;
  env: string;
  name: string;
}

/** The newest hundred versions of a key, what each changed, and a way back to each. */
export function KeyHistory({ state, env, name }: KeyProps) {
  const queries = useQueryClient();
  const mayWrite = useMayWrite();
  const [compared, setCompared] = useState<number>();
  const [restoring, setRestoring] = useState<StateVersion>();
  const query = useQuery({
    queryKey: ["states", env, state, "history", name],
    queryFn: () => listStateHistory({ path: { name: state }, query: { key: name, env } }),
  });
  const rows = query.data?.items;
  const newest = rows?.[0]?.version;
  const columns: Column<StateVersion>[] = [
    { title: "Version", narrow: "lead", cell: (item) => <span className="num">{item.version}</span> },
    { title: "Value", grow: true, narrow: "wide", cell: (item) => <code>{shownValue(item)}</code> },
    { title: "When", keep: true, cell: (item) => <Ago at={item.at} /> },
    { title: "By", keep: true, cell: (item) => item.by },
    { title: "What", keep: true, cell: (item) => (item.restores ? `restore of ${item.restores}` : item.op) },
    {
      title: "",
      narrow: "corner",
      align: "end",
      cell: (item) => (
        <span className="row">
          {item.version > 1 && (
            <button
              type="button"
              className="button quiet"
              aria-label={`Diff of version ${item.version}`}
              onClick={() => setCompared(compared === item.version ? undefined : item.version)}
            >
              Diff
            </button>
          )}
          {mayWrite && item.version !== newest && (
            <button
              type="button"
              className="button quiet"
              aria-label={`Restore version ${item.version}`}
              onClick={() => setRestoring(item)}
            >
              Restore
            </button>
          )}
        </span>
      ),
    },
  ];
  const restore = async (version: number) => {
    await restoreStateValue({
      path: { name: state },
      query: { env },
      body: { key: name, version, expect_version: newest ?? null },
    });
    await queries.invalidateQueries({ queryKey: ["states"] });
  };
  return (
    <>
      {compared !== undefined && <Diff state={state} env={env} name={name} version={compared} />}
      <section className="card" aria-label="Versions">
        {query.error && !rows ? (
          <div className="body">
            <Fault error={query.error} retry={query.refetch} />
          </div>
        ) : !rows ? (
          <Skeleton />
        ) : (
          <Table label="Versions" columns={columns} rows={rows} rowKey={(item) => String(item.version)} />
        )}
      </section>
      {restoring && (
        <ActionDialog
          title={`Restore version ${restoring.version}`}
          confirm="Restore"
          onClose={() => setRestoring(undefined)}
          act={() => restore(restoring.version)}
        >
          The key gets a new version with this value, unless somebody changes it meanwhile:{" "}
          <code>{shownValue(restoring)}</code>
        </ActionDialog>
      )}
    </>
  );
}

function Diff({ state, env, name, version }: KeyProps & { version: number }) {
  const query = useQuery({
    queryKey: ["states", env, state, "diff", name, version],
    queryFn: () =>
      diffStateVersions({ path: { name: state }, query: { key: name, env, before: version - 1, after: version } }),
  });
  const changes = query.data?.changes;
  const text = (value: unknown) => <code>{value === undefined ? "" : JSON.stringify(value)}</code>;
  return (
    <section className="card" aria-label={`What version ${version} changed`}>
      {query.error ? (
        <div className="body">
          <Fault error={query.error} />
        </div>
      ) : !changes ? (
        <Skeleton rows={2} />
      ) : changes.length ? (
        <Table
          label={`What version ${version} changed`}
          rows={changes}
          rowKey={(item) => item.path}
          columns={[
            { title: "Place", narrow: "title", cell: (item) => <code>{item.path || "(the value)"}</code> },
            { title: "What", cell: (item) => item.what },
            { title: `Version ${version - 1}`, narrow: "wide", cell: (item) => text(item.before) },
            { title: `Version ${version}`, narrow: "wide", cell: (item) => text(item.after) },
          ]}
        />
      ) : (
        <Empty icon="check" title={`Version ${version} has the value of version ${version - 1}`} />
      )}
    </section>
  );
}
