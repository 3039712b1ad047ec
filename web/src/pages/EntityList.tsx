import { useQuery, useQueryClient } from "@tanstack/react-query";
import { type ReactNode, useState } from "react";
import { useMayWrite } from "../app/useMayWrite";
import { FormDialog } from "../forms/FormDialog";
import { SearchBox } from "../logs/LogToolbar";
import { ActionDialog } from "../ui/ActionDialog";
import { Icon, type IconName } from "../ui/Icon";
import { PageHead } from "../ui/Page";
import { Command, Empty, Fault, Skeleton } from "../ui/parts";
import { Revisions } from "../ui/Revisions";
import { type Column, Table } from "../ui/Table";
import type { Entity, KindOf } from "./kinds/kind";

type Opened<T> = { what: "edit"; item: T | undefined } | { what: "history" | "remove"; item: T };

interface EntityListProps<T extends Entity> {
  /** Its name in the address of the api. */
  path: string;
  kind: KindOf<T>;
  /** A form of its own, where the fields of the kind are not enough. */
  editor?: (item: T | undefined, close: () => void) => ReactNode;
  /** A part of a page rather than the page. */
  part?: boolean;
}

/** A list of configured things: search, add, change, remove, and who changed what. */
export function EntityList<T extends Entity>({ path, kind, editor, part }: EntityListProps<T>) {
  const mayWrite = useMayWrite();
  const queries = useQueryClient();
  const query = useQuery({ queryKey: [path], queryFn: kind.list });
  const [q, setQ] = useState("");
  const [opened, setOpened] = useState<Opened<T>>();
  const close = () => setOpened(undefined);
  const refresh = () => queries.invalidateQueries({ queryKey: [path] });
  const items = query.data?.items;
  const shown = items?.filter((item) => JSON.stringify(item).toLowerCase().includes(q.toLowerCase()));
  const addable = mayWrite && (kind.create || editor);
  const add = addable && (
    <button type="button" className="button primary" onClick={() => setOpened({ what: "edit", item: undefined })}>
      <Icon name="plus" /> New {kind.one}
    </button>
  );
  const actions: Column<T> = {
    title: "",
    keep: true,
    narrow: "wide",
    align: "end",
    cell: (item) => (
      <span className="row" style={{ gap: 2, justifyContent: "flex-end", flexWrap: "nowrap" }}>
        <RowButton
          icon="history"
          label={`History of ${kind.name(item)}`}
          onClick={() => setOpened({ what: "history", item })}
        />
        {mayWrite && (kind.update || editor) && (
          <RowButton icon="edit" label={`Edit ${kind.name(item)}`} onClick={() => setOpened({ what: "edit", item })} />
        )}
        {mayWrite && kind.remove && (
          <RowButton
            icon="trash"
            label={`Remove ${kind.name(item)}`}
            onClick={() => setOpened({ what: "remove", item })}
          />
        )}
      </span>
    ),
  };

  return (
    <>
      {part ? (
        <div className="spread">
          <div>
            <h2>{kind.title}</h2>
            <p className="muted">{kind.about}</p>
          </div>
          {add}
        </div>
      ) : (
        <PageHead title={kind.title} about={kind.about}>
          {add}
        </PageHead>
      )}
      {!part && (items?.length ?? 0) > 5 && (
        <search className="filters">
          <SearchBox label={`Search ${kind.title.toLowerCase()}`} value={q} onChange={setQ} />
        </search>
      )}
      <section className="card" aria-label={kind.title}>
        {query.error && !items ? (
          <div className="body">
            <Fault error={query.error} retry={query.refetch} />
          </div>
        ) : !shown ? (
          <Skeleton rows={5} />
        ) : shown.length ? (
          <Table label={kind.title} columns={[...kind.columns, actions]} rows={shown} rowKey={(item) => item.id} />
        ) : q ? (
          <Empty icon="search" title="Nothing matches" />
        ) : (
          <Empty icon={kind.icon} title={`There is no ${kind.one} yet`}>
            <p>{kind.empty}</p>
            {kind.command && <Command>{kind.command}</Command>}
          </Empty>
        )}
      </section>
      {opened?.what === "edit" &&
        (editor ? (
          editor(opened.item, close)
        ) : (
          <Editor kind={kind} item={opened.item} onSaved={refresh} onClose={close} />
        ))}
      {opened?.what === "history" && (
        <Revisions kind={path} reference={opened.item.id} title={kind.name(opened.item)} onClose={close} />
      )}
      {opened?.what === "remove" && (
        <ActionDialog
          title={`Remove ${kind.name(opened.item)}?`}
          confirm="Remove"
          danger
          onClose={close}
          act={async () => {
            await kind.remove?.(opened.item);
            await refresh();
          }}
        >
          The history keeps what it was.
        </ActionDialog>
      )}
    </>
  );
}

function RowButton({ icon, label, onClick }: { icon: IconName; label: string; onClick: () => void }) {
  return (
    <button type="button" className="button quiet icon" aria-label={label} title={label} onClick={onClick}>
      <Icon name={icon} />
    </button>
  );
}

interface EditorProps<T extends Entity> {
  kind: KindOf<T>;
  item: T | undefined;
  onSaved: () => Promise<unknown>;
  onClose: () => void;
}

function Editor<T extends Entity>({ kind, item, onSaved, onClose }: EditorProps<T>) {
  return (
    <FormDialog
      title={item ? `Edit ${kind.name(item)}` : `New ${kind.one}`}
      submit="Save"
      fields={kind.fields ?? []}
      values={kind.values?.(item) ?? {}}
      below={kind.below && ((values) => kind.below?.(values, item))}
      onClose={onClose}
      save={async (values) => {
        await (item ? kind.update?.(item, values) : kind.create?.(values));
        await onSaved();
      }}
    />
  );
}
