import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { deleteSecret, putSecret, type SecretSummary } from "../api/calls";
import { secretsQuery } from "../api/queries";
import { FormDialog, type Values } from "../forms/FormDialog";
import { ActionDialog } from "../ui/ActionDialog";
import { Icon } from "../ui/Icon";
import { PageHead } from "../ui/Page";
import { Command, Empty, Fault, Skeleton } from "../ui/parts";
import { type Column, Table } from "../ui/Table";
import { Ago } from "../ui/Time";

type Opened = { what: "put"; secret?: SecretSummary } | { what: "remove"; secret: SecretSummary };

/** Paths and fields; a value goes in and is never shown. */
export function SecretsPage() {
  const queries = useQueryClient();
  const secrets = useQuery(secretsQuery);
  const [opened, setOpened] = useState<Opened>();
  const close = () => setOpened(undefined);
  const refresh = () => queries.invalidateQueries({ queryKey: ["secrets"] });
  return (
    <>
      <PageHead title="Secrets" about="Kept encrypted by the vault. Values are put here, and never shown.">
        <button type="button" className="button primary" onClick={() => setOpened({ what: "put" })}>
          <Icon name="plus" /> New secret
        </button>
      </PageHead>
      <section className="card" aria-label="Secrets">
        {secrets.error ? (
          <div className="body">
            <Fault error={secrets.error} retry={secrets.refetch} />
          </div>
        ) : !secrets.data ? (
          <Skeleton />
        ) : secrets.data.items.length ? (
          <Table label="Secrets" columns={columns(setOpened)} rows={secrets.data.items} rowKey={(item) => item.path} />
        ) : (
          <Empty icon="lock" title="There is no secret yet">
            <p>Put one here, or on the command line:</p>
            <Command>kirby secrets put db/main user password</Command>
          </Empty>
        )}
      </section>
      {opened?.what === "put" && <Put secret={opened.secret} refresh={refresh} onClose={close} />}
      {opened?.what === "remove" && (
        <ActionDialog
          title={`Remove ${opened.secret.path}?`}
          confirm="Remove"
          danger
          onClose={close}
          act={() => deleteSecret({ path: { path: opened.secret.path } }).then(refresh)}
        >
          All its versions go. A run that asks for it fails from now on.
        </ActionDialog>
      )}
    </>
  );
}

interface PutProps {
  secret: SecretSummary | undefined;
  refresh: () => Promise<unknown>;
  onClose: () => void;
}

/** A new version: every field anew, since nobody is shown what they were. */
function Put({ secret, refresh, onClose }: PutProps) {
  const known = secret?.fields ?? [];
  const save = async (values: Values) => {
    const names = secret ? known : [values.field?.trim() || "value"];
    const data = Object.fromEntries(names.map((name) => [name, values[secret ? `field ${name}` : "new"] ?? ""]));
    const path = secret?.path ?? values.path ?? "";
    await putSecret({
      path: { path },
      body: { data } as never,
      headers: { "Content-Type": "application/json" } as never,
    });
    await refresh();
  };
  if (secret) {
    return (
      <FormDialog
        title={`New value of ${secret.path}`}
        submit="Put"
        fields={known.map((name) => ({ name: `field ${name}`, label: name, type: "password", required: true }))}
        values={{}}
        save={save}
        onClose={onClose}
      />
    );
  }
  return (
    <FormDialog
      title="New secret"
      submit="Put"
      fields={[
        { name: "path", label: "Path", type: "text", required: true, mono: true, placeholder: "db/main" },
        { name: "field", label: "Field", type: "text", mono: true, placeholder: "value", hint: "Left empty: value." },
        { name: "new", label: "Value", type: "password", required: true },
      ]}
      values={{}}
      save={save}
      onClose={onClose}
    />
  );
}

function columns(open: (opened: Opened) => void): Column<SecretSummary>[] {
  return [
    { title: "Path", narrow: "title", cell: (item) => <span className="name-cell mono">{item.path}</span> },
    { title: "Fields", cell: (item) => <span className="mono">{item.fields.join(", ")}</span> },
    { title: "Version", keep: true, cell: (item) => <span className="num">{item.version}</span> },
    { title: "Changed", keep: true, cell: (item) => <Ago at={item.updated_at} /> },
    { title: "By", cell: (item) => item.updated_by },
    {
      title: "",
      align: "end",
      narrow: "wide",
      keep: true,
      cell: (item) => (
        <>
          <button
            type="button"
            className="button quiet icon"
            aria-label={`Put a new value of ${item.path}`}
            onClick={() => open({ what: "put", secret: item })}
          >
            <Icon name="edit" />
          </button>
          <button
            type="button"
            className="button quiet icon"
            aria-label={`Remove ${item.path}`}
            onClick={() => open({ what: "remove", secret: item })}
          >
            <Icon name="trash" />
          </button>
        </>
      ),
    },
  ];
}
