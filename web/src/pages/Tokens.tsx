import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useRef, useState } from "react";
import { createToken, deleteToken, listTokens, type Token } from "../api/calls";
import { FormDialog } from "../forms/FormDialog";
import { ActionDialog } from "../ui/ActionDialog";
import { Dialog } from "../ui/Dialog";
import { Icon } from "../ui/Icon";
import { Command, Empty, Fault, Note, Skeleton } from "../ui/parts";
import { type Column, Table } from "../ui/Table";
import { Ago, Time } from "../ui/Time";

type Opened = { what: "add" } | { what: "remove"; token: Token } | { what: "made"; text: string };

/** API tokens: listed, made (and shown once), taken back. */
export function Tokens() {
  const queries = useQueryClient();
  const tokens = useQuery({ queryKey: ["tokens"], queryFn: () => listTokens() });
  const [opened, setOpened] = useState<Opened>();
  const close = () => setOpened(undefined);
  const refresh = () => queries.invalidateQueries({ queryKey: ["tokens"] });
  return (
    <>
      <div className="spread">
        <div>
          <h2>API tokens</h2>
          <p className="muted">For the command and for programs: `Authorization: Bearer …`.</p>
        </div>
        <button type="button" className="button" onClick={() => setOpened({ what: "add" })}>
          <Icon name="plus" /> New token
        </button>
      </div>
      <section className="card" aria-label="API tokens">
        {tokens.error ? (
          <Fault error={tokens.error} retry={tokens.refetch} />
        ) : !tokens.data ? (
          <Skeleton />
        ) : tokens.data.items.length ? (
          <Table
            label="API tokens"
            columns={tokenColumns(setOpened)}
            rows={tokens.data.items}
            rowKey={(token) => token.id}
          />
        ) : (
          <Empty icon="key" title="There is no token yet" />
        )}
      </section>
      {opened?.what === "add" && (
        <NewToken onMade={(text) => setOpened({ what: "made", text })} onClose={close} refresh={refresh} />
      )}
      {opened?.what === "made" && (
        <Dialog title="The new token" onClose={close}>
          <Note tone="warn">It is shown once; keep it where it is needed.</Note>
          <Command>{opened.text}</Command>
        </Dialog>
      )}
      {opened?.what === "remove" && (
        <ActionDialog
          title={`Take back “${opened.token.label || "unnamed"}”?`}
          confirm="Take back"
          danger
          onClose={close}
          act={() => deleteToken({ path: { token_id: opened.token.id } }).then(refresh)}
        >
          What uses it is refused from now on.
        </ActionDialog>
      )}
    </>
  );
}

function NewToken({
  onMade,
  onClose,
  refresh,
}: {
  onMade: (token: string) => void;
  onClose: () => void;
  refresh: () => Promise<unknown>;
}) {
  const made = useRef<string | undefined>(undefined);
  return (
    <FormDialog
      title="New API token"
      submit="Make"
      fields={[{ name: "label", label: "What it is for", type: "text", required: true, placeholder: "ci" }]}
      values={{ label: "" }}
      save={async ({ label }) => {
        made.current = (await createToken({ body: { label } })).token ?? undefined;
        await refresh();
      }}
      onClose={() => (made.current ? onMade(made.current) : onClose())}
    />
  );
}

function tokenColumns(open: (opened: Opened) => void): Column<Token>[] {
  return [
    { title: "For", narrow: "title", cell: (token) => <span className="name-cell">{token.label || "unnamed"}</span> },
    { title: "User", cell: (token) => token.user },
    { title: "Made", keep: true, cell: (token) => <Time at={token.created_at} /> },
    { title: "Last used", keep: true, cell: (token) => <Ago at={token.last_used_at} empty="never" /> },
    {
      title: "",
      align: "end",
      narrow: "wide",
      cell: (token) => (
        <button
          type="button"
          className="button quiet icon"
          aria-label={`Take back ${token.label || "the token"}`}
          onClick={() => open({ what: "remove", token })}
        >
          <Icon name="trash" />
        </button>
      ),
    },
  ];
}
