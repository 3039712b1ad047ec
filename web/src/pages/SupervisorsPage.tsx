import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { enrolSupervisor, type Supervisor } from "../api/calls";
import { supervisorsQuery } from "../api/queries";
import { useMayWrite } from "../app/useMayWrite";
import { Dialog } from "../ui/Dialog";
import { Icon } from "../ui/Icon";
import { PageHead } from "../ui/Page";
import { Command, Empty, Fault, Field, Labels, Note, Skeleton } from "../ui/parts";
import { Pill } from "../ui/Status";
import { type Column, Table } from "../ui/Table";
import { Ago } from "../ui/Time";
import { duration } from "../ui/time";

export function SupervisorsPage() {
  const query = useQuery(supervisorsQuery);
  const mayWrite = useMayWrite();
  const [adding, setAdding] = useState(false);
  const items = query.data?.items;
  return (
    <>
      <PageHead title="Supervisors" about="The machines that run scripts. One of them leads: it decides what is due.">
        {mayWrite && (
          <button type="button" className="button primary" onClick={() => setAdding(true)}>
            <Icon name="plus" /> Enrol a worker
          </button>
        )}
      </PageHead>
      <section className="card" aria-label="Supervisors">
        {query.error && !items ? (
          <div className="body">
            <Fault error={query.error} retry={query.refetch} />
          </div>
        ) : !items ? (
          <Skeleton />
        ) : items.length ? (
          <Table label="Supervisors" columns={COLUMNS} rows={items} rowKey={(item) => item.name} />
        ) : (
          <Empty icon="server" title="No supervisor has ever reported">
            <p>Start one on any machine that reaches the api:</p>
            <Command>kirby supervisor server-1</Command>
          </Empty>
        )}
      </section>
      {adding && <Enrol onClose={() => setAdding(false)} />}
    </>
  );
}

const COLUMNS: Column<Supervisor>[] = [
  {
    title: "Name",
    narrow: "title",
    cell: (item) => (
      <span className="row" style={{ gap: 6 }}>
        <span className="name-cell">{item.name}</span>
        {item.leader && (
          <Pill tone="run" icon="crown">
            Leads
          </Pill>
        )}
      </span>
    ),
  },
  { title: "State", cell: (item) => <State item={item} /> },
  { title: "Host", cell: (item) => item.host },
  {
    title: "Pool",
    narrow: "hide",
    cell: (item) => (
      <span className="row">
        {item.pool} <Labels labels={item.labels} />
      </span>
    ),
  },
  {
    title: "Running",
    keep: true,
    cell: (item) => (
      <span className="num">
        {item.running} <span className="muted">of {item.places}</span>
      </span>
    ),
  },
  { title: "Since", keep: true, cell: (item) => <Ago at={item.since} /> },
  { title: "Last beat", keep: true, cell: (item) => <Ago at={item.last_beat_at} /> },
  {
    title: "Longest gap",
    keep: true,
    narrow: "hide",
    cell: (item) => (
      <span className="num" title={`The lease is ${duration(item.lease_ms / 1000)}; a beat is late from 0.3 of it.`}>
        {duration(item.max_beat_gap_ms / 1000)}
      </span>
    ),
  },
  {
    title: "Version",
    narrow: "hide",
    cell: (item) => (
      <span className="muted">
        {item.version} · Python {item.python}
      </span>
    ),
  },
];

function State({ item }: { item: Supervisor }) {
  if (!item.alive) {
    return (
      <Pill tone="fail" icon="cross">
        Gone
      </Pill>
    );
  }
  return item.draining ? (
    <Pill tone="warn" icon="pause">
      Draining
    </Pill>
  ) : (
    <Pill tone="ok" icon="check">
      Alive
    </Pill>
  );
}

function Enrol({ onClose }: { onClose: () => void }) {
  const queries = useQueryClient();
  const [name, setName] = useState("");
  const [token, setToken] = useState<string>();
  const [error, setError] = useState<unknown>();
  const submit = async () => {
    setError(undefined);
    try {
      setToken((await enrolSupervisor({ body: { name } })).token);
      await queries.invalidateQueries({ queryKey: ["supervisors"] });
    } catch (problem) {
      setError(problem);
    }
  };
  return (
    <Dialog
      title="Enrol a worker"
      onClose={onClose}
      onSubmit={token ? onClose : submit}
      footer={
        <button type="submit" className="button primary">
          {token ? "Done" : "Make its token"}
        </button>
      }
    >
      {token ? (
        <>
          <Note tone="warn">This token is shown once. On the worker's machine:</Note>
          <Command>{`KIRBY_WORKER_TOKEN=${token} kirby worker ${name}`}</Command>
        </>
      ) : (
        <Field label="Name" hint="Unique among the supervisors, for example the machine's name.">
          {(attributes) => (
            <input
              {...attributes}
              className="input"
              required
              value={name}
              onChange={(event) => setName(event.target.value)}
            />
          )}
        </Field>
      )}
      {error !== undefined && <Fault error={error} />}
    </Dialog>
  );
}
