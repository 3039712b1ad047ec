import { useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { type KeyboardEvent, useEffect, useRef, useState } from "react";
import { jobsQuery } from "../api/queries";
import { Icon, type IconName } from "../ui/Icon";
import { PLACES } from "./places";

interface Entry {
  name: string;
  kind: string;
  icon: IconName;
  to: string;
}

const RUN_ID = /^[0-9a-f]{8}-[0-9a-f-]{27}$/;

function entriesFor(text: string, jobs: readonly { name: string }[]): Entry[] {
  const wanted = text.trim().toLowerCase();
  const all: Entry[] = [
    ...PLACES.map(({ name, icon, to }) => ({ name, icon, to, kind: "Page" })),
    { name: "Deploy a script", kind: "Action", icon: "upload", to: "/deploy" },
    ...jobs.map((job) => ({ name: job.name, kind: "Job", icon: "box" as const, to: `/job/${job.name}` })),
  ];
  if (RUN_ID.test(wanted)) return [{ name: wanted, kind: "Run", icon: "play", to: `/runs/${wanted}` }];
  return all.filter((entry) => entry.name.toLowerCase().includes(wanted)).slice(0, 12);
}

/** Ctrl K: go to a page, a job, or a run by its id. */
export function Palette({ onClose }: { onClose: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [text, setText] = useState("");
  const [at, setAt] = useState(0);
  const [entered, setEntered] = useState(false);
  const { data, isPending } = useQuery(jobsQuery);
  const navigate = useNavigate();
  const entries = entriesFor(text, data?.items ?? []);
  useEffect(() => {
    const element = dialog.current;
    element?.showModal();
    return () => element?.close();
  }, []);
  const go = (entry: Entry | undefined) => {
    if (!entry) return;
    onClose();
    void navigate({ to: entry.to });
  };
  useEffect(() => {
    // Who is quicker than the list of jobs is taken there once it has come.
    if (entered && !isPending) {
      setEntered(false);
      go(entries[0]);
    }
  });
  const onKey = (event: KeyboardEvent) => {
    if (event.key === "ArrowDown") setAt(Math.min(at + 1, entries.length - 1));
    else if (event.key === "ArrowUp") setAt(Math.max(at - 1, 0));
    else if (event.key === "Enter") entries[at] ? go(entries[at]) : setEntered(isPending);
    else return;
    event.preventDefault();
  };
  return (
    <dialog ref={dialog} className="dialog palette" aria-label="Find" onCancel={onClose} onClose={onClose}>
      <input
        role="combobox"
        aria-label="Find a page, a job or a run"
        aria-expanded="true"
        aria-controls="palette-list"
        aria-activedescendant={entries[at] ? `palette-${at}` : undefined}
        placeholder="A page, a job, or the id of a run"
        value={text}
        onChange={(event) => {
          setText(event.target.value);
          setAt(0);
          setEntered(false);
        }}
        onKeyDown={onKey}
      />
      <div id="palette-list" role="listbox" aria-label="Found">
        {entries.map((entry, index) => (
          // biome-ignore lint/a11y/useKeyWithClickEvents: the combobox has the keys.
          <div
            key={entry.to}
            id={`palette-${index}`}
            role="option"
            aria-selected={index === at}
            tabIndex={-1}
            onClick={() => go(entry)}
            onMouseMove={() => setAt(index)}
          >
            <Icon name={entry.icon} />
            {entry.name}
            <span className="kind">{entry.kind}</span>
          </div>
        ))}
      </div>
      {entries.length === 0 && <p className="muted">{isPending ? "Looking…" : "Nothing has this name."}</p>}
    </dialog>
  );
}
