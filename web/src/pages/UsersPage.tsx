import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { createUser, deleteUser, listUsers, type User, updateUser } from "../api/calls";
import { FormDialog } from "../forms/FormDialog";
import { ActionDialog } from "../ui/ActionDialog";
import { Icon } from "../ui/Icon";
import { PageHead } from "../ui/Page";
import { Fault, Skeleton } from "../ui/parts";
import { Pill } from "../ui/Status";
import { type Column, Table } from "../ui/Table";
import { Time } from "../ui/Time";
import { Tokens } from "./Tokens";

type Opened = { what: "add" } | { what: "edit" | "remove"; user: User };

const ROLES = [
  ["viewer", "Viewer: looks at everything"],
  ["admin", "Admin: changes everything"],
] as const;

export function UsersPage() {
  const queries = useQueryClient();
  const users = useQuery({ queryKey: ["users"], queryFn: () => listUsers() });
  const [opened, setOpened] = useState<Opened>();
  const close = () => setOpened(undefined);
  // A removed user takes their tokens along.
  const refresh = () => Promise.all(["users", "tokens"].map((list) => queries.invalidateQueries({ queryKey: [list] })));

  return (
    <>
      <PageHead title="Users and tokens">
        <button type="button" className="button primary" onClick={() => setOpened({ what: "add" })}>
          <Icon name="plus" /> New user
        </button>
      </PageHead>
      <section className="card" aria-label="Users">
        {users.error ? (
          <Fault error={users.error} retry={users.refetch} />
        ) : !users.data ? (
          <Skeleton />
        ) : (
          <Table label="Users" columns={userColumns(setOpened)} rows={users.data.items} rowKey={(user) => user.id} />
        )}
      </section>
      {opened?.what === "add" && (
        <FormDialog
          title="New user"
          submit="Add"
          fields={[
            { name: "name", label: "Name", type: "text", required: true },
            { name: "password", label: "Password", type: "password", required: true, hint: "At least 8 characters." },
            { name: "role", label: "Role", type: "select", options: ROLES },
          ]}
          values={{ role: "viewer" }}
          save={async ({ name = "", password, role }) => {
            await createUser({ body: { name, password, role: role === "admin" ? "admin" : "viewer" } });
            await refresh();
          }}
          onClose={close}
        />
      )}
      {opened?.what === "edit" && (
        <FormDialog
          title={`Edit ${opened.user.name}`}
          submit="Save"
          fields={[
            { name: "role", label: "Role", type: "select", options: ROLES },
            { name: "password", label: "New password", type: "password", hint: "Left empty: as it is." },
            { name: "disabled", label: "Disabled", type: "check", hint: "(can't sign in)" },
          ]}
          values={{ role: opened.user.role, disabled: String(opened.user.disabled) }}
          save={async ({ password, role, disabled }) => {
            await updateUser({
              path: { ref: opened.user.id },
              body: {
                role: role === "admin" ? "admin" : "viewer",
                disabled: disabled === "true",
                ...(password && { password }),
              },
            });
            await refresh();
          }}
          onClose={close}
        />
      )}
      {opened?.what === "remove" && (
        <ActionDialog
          title={`Remove ${opened.user.name}?`}
          confirm="Remove"
          danger
          onClose={close}
          act={() => deleteUser({ path: { ref: opened.user.id } }).then(refresh)}
        >
          Their sessions and tokens end at once.
        </ActionDialog>
      )}
      <Tokens />
    </>
  );
}

function userColumns(open: (opened: Opened) => void): Column<User>[] {
  return [
    { title: "Name", narrow: "title", cell: (user) => <span className="name-cell">{user.name}</span> },
    { title: "Role", cell: (user) => user.role },
    {
      title: "State",
      cell: (user) =>
        user.disabled ? (
          <Pill tone="wait" icon="skip">
            Disabled
          </Pill>
        ) : (
          <Pill tone="ok" icon="check">
            Active
          </Pill>
        ),
    },
    { title: "Since", keep: true, cell: (user) => <Time at={user.created_at} /> },
    {
      title: "",
      align: "end",
      narrow: "wide",
      cell: (user) => (
        <span className="row" style={{ gap: 2, justifyContent: "flex-end" }}>
          <button
            type="button"
            className="button quiet icon"
            aria-label={`Edit ${user.name}`}
            onClick={() => open({ what: "edit", user })}
          >
            <Icon name="edit" />
          </button>
          <button
            type="button"
            className="button quiet icon"
            aria-label={`Remove ${user.name}`}
            onClick={() => open({ what: "remove", user })}
          >
            <Icon name="trash" />
          </button>
        </span>
      ),
    },
  ];
}
