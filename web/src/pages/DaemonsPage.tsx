import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { type Daemon, restartDaemon, type Slot } from "../api/calls";
import { daemonsQuery } from "../api/queries";
import { useMayWrite } from "../app/useMayWrite";
import { Dialog } from "../ui/Dialog";
import type { IconName } from "../ui/Icon";
import { Icon } from "../ui/Icon";
import { PageHead } from "../ui/Page";
import { Command, Empty, Fault, Skeleton } from "../ui/parts";
import { Pill, type Tone } from "../ui/Status";
import { type Column, Table } from "../ui/Table";
import { Ago } from "../ui/Time";
import { count, plural } from "../ui/time";

const LOOKS: Record<Daemon["health"], [Tone, IconName, string]> = {
  healthy: ["ok", "check", "Healthy"],
  starting: ["wait", "clock", "Starting"],
  stalled: ["warn", "pause", "Stalled"],
  down: ["fail", "cross", "Down"],
  crash_looping: ["fail", "retry", "Crash loop"],
  off: ["odd", "skip", "Off"],
};

export function DaemonsPage() {
  const query = useQuery(daemonsQuery);
  const mayWrite = useMayWrite();
  const [restarting, setRestarting] = useState<Daemon>();
  const items = query.data?.items;
  return (
    <>
      <PageHead title="Daemons" about="Scripts that run all the time: whether they live, and whether they progress." />
      {query.error && !items ? (
        <Fault error={query.error} retry={query.refetch} />
      ) : !items ? (
        <Skeleton />
      ) : items.length ? (
        items.map((daemon) => (
          <DaemonCard
            key={daemon.context_id}
            daemon={daemon}
            onRestart={mayWrite && daemon.health !== "off" ? () => setRestarting(daemon) : undefined}
          />
        ))
      ) : (
        <section className="card" aria-label="Daemons">
          <Empty icon="retry" title="No daemons">
            <p>A daemon is started again when it ends, and elsewhere when its machine dies:</p>
            <Command>kirby deploy aggregate.py --job aggregate --env prod --daemon</Command>
          </Empty>
        </section>
      )}
      {restarting && <Restart daemon={restarting} onClose={() => setRestarting(undefined)} />}
    </>
  );
}

function DaemonCard({ daemon, onRestart }: { daemon: Daemon; onRestart: (() => void) | undefined }) {
  const label = `${daemon.job} in ${daemon.env}`;
  return (
    <section className="card" aria-label={label}>
      <header>
        <h2 className="row">
          <Link to="/job/$" params={{ _splat: daemon.job }} className="name-cell">
            {daemon.job}
          </Link>
          <span className="tag">{daemon.env}</span>
          <HealthPill health={daemon.health} />
        </h2>
        {onRestart && (
          <button type="button" className="button" onClick={onRestart} aria-label={`Restart ${label}`}>
            <Icon name="retry" /> Restart
          </button>
        )}
      </header>
      <div className="body muted">
        {daemon.reason} · {daemon.live} of {plural(daemon.wanted, "replica")} live
        {daemon.lag !== null && <> · {plural(daemon.lag, "message")} waiting</>}
      </div>
      {daemon.slots.length > 0 && (
        <Table label={`Replicas of ${label}`} columns={COLUMNS} rows={daemon.slots} rowKey={key} />
      )}
    </section>
  );
}

function HealthPill({ health }: { health: Daemon["health"] }) {
  const [tone, icon, name] = LOOKS[health];
  return (
    <Pill tone={tone} icon={icon}>
      {name}
    </Pill>
  );
}

const key = (slot: Slot) => String(slot.slot);

const COLUMNS: Column<Slot>[] = [
  { title: "Replica", narrow: "title", cell: (slot) => <span className="num">{slot.slot}</span> },
  { title: "Health", cell: (slot) => <HealthPill health={slot.health} /> },
  { title: "Version", cell: (slot) => slot.version ?? "–" },
  { title: "Worker", cell: (slot) => slot.worker ?? "–" },
  { title: "Restarts", keep: true, cell: (slot) => <span className="num">{count(slot.restarts)}</span> },
  { title: "Up", keep: true, cell: (slot) => (slot.up_since ? <Ago at={slot.up_since} /> : "–") },
  {
    title: "Run",
    cell: (slot) =>
      slot.run_id ? (
        <Link to="/runs/$runId" params={{ runId: slot.run_id }} aria-label={`Log of replica ${slot.slot}`}>
          log
        </Link>
      ) : (
        "–"
      ),
  },
  { title: "Why", narrow: "wide", cell: (slot) => <span className="muted">{slot.reason}</span> },
];

function Restart({ daemon, onClose }: { daemon: Daemon; onClose: () => void }) {
  const queries = useQueryClient();
  const [error, setError] = useState<unknown>();
  const submit = async () => {
    setError(undefined);
    try {
      await restartDaemon({ body: { job: daemon.job, env: daemon.env } });
      await queries.invalidateQueries({ queryKey: ["daemons"] });
      onClose();
    } catch (problem) {
      setError(problem);
    }
  };
  return (
    <Dialog
      title={`Restart ${daemon.job} in ${daemon.env}`}
      onClose={onClose}
      onSubmit={submit}
      footer={
        <button type="submit" className="button primary">
          Restart
        </button>
      }
    >
      <p>
        {daemon.exclusive
          ? "It is exclusive: each replica drains before its successor starts."
          : "One replica after the other: the new one is up before the old one drains."}
      </p>
      {error !== undefined && <Fault error={error} />}
    </Dialog>
  );
}
