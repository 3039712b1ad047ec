import { Link } from "@tanstack/react-router";
import * as api from "../../api/calls";
import type { Values } from "../../forms/FormDialog";
import { linesOf } from "../../forms/pairs";
import { ifUnchanged, type KindOf, query } from "./kind";

function recipients({ emails = "", webhooks = "", suite }: Values) {
  return { emails: linesOf(emails), webhooks: linesOf(webhooks), suite_alerts: suite === "true" };
}

export const groups: KindOf<api.NotificationGroup> = {
  title: "Notification groups",
  one: "notification group",
  icon: "bell",
  about: "Who is told: e-mail addresses and webhooks.",
  empty: "Add a group, then say above which jobs tell it.",
  list: () => api.listNotificationGroups({ query }),
  name: (item) => item.name,
  columns: [
    { title: "Name", narrow: "title", cell: (item) => <span className="name-cell">{item.name}</span> },
    { title: "E-mail", narrow: "wide", cell: (item) => item.emails.join(", ") || <span className="muted">–</span> },
    { title: "Webhooks", narrow: "wide", cell: (item) => item.webhooks.join(", ") || <span className="muted">–</span> },
  ],
  fields: [
    { name: "name", label: "Name", type: "text", required: true, when: (values) => values.isNew === "true" },
    { name: "emails", label: "E-mail addresses", type: "lines", hint: "One per line." },
    { name: "webhooks", label: "Webhooks", type: "lines", hint: "One URL per line; each gets a signed JSON POST." },
    { name: "suite", label: "Tell it of the suite too: no leader, no supervisor, stale topics …", type: "check" },
  ],
  values: (item) => ({
    isNew: String(!item),
    name: item?.name ?? "",
    emails: item?.emails.join("\n") ?? "",
    webhooks: item?.webhooks.join("\n") ?? "",
    suite: String(item?.suite_alerts ?? false),
  }),
  create: ({ name = "", ...values }) => api.createNotificationGroup({ body: { name, ...recipients(values) } }),
  update: (item, values) =>
    api.updateNotificationGroup({ path: { ref: item.id }, body: recipients(values), headers: ifUnchanged(item) }),
  remove: (item) => api.deleteNotificationGroup({ path: { ref: item.id } }),
};

export const notifications: KindOf<api.Notification> = {
  title: "Notifications",
  one: "notification",
  icon: "bell",
  about: "Which jobs tell which group, and of what.",
  empty: "Say which job tells which group when a run fails.",
  list: () => api.listNotifications({ query }),
  name: (item) => `${item.job} in ${item.env} → ${item.group}`,
  columns: [
    {
      title: "Job",
      narrow: "title",
      cell: (item) => (
        <>
          <Link to="/job/$" params={{ _splat: item.job }} className="name-cell">
            {item.job}
          </Link>{" "}
          <span className="tag">{item.env}</span>
        </>
      ),
    },
    { title: "Group", cell: (item) => item.group },
    {
      title: "On",
      cell: (item) =>
        [item.on_failure && "failure", item.on_retry && "retry"].filter(Boolean).join(", ") || (
          <span className="muted">nothing</span>
        ),
    },
  ],
  fields: [
    { name: "job", label: "Job", type: "text", required: true, when: (values) => values.isNew === "true" },
    { name: "env", label: "Environment", type: "text", required: true, when: (values) => values.isNew === "true" },
    {
      name: "group",
      label: "Notification group",
      type: "text",
      required: true,
      when: (values) => values.isNew === "true",
    },
    { name: "on_failure", label: "When a run has failed", type: "check" },
    { name: "on_retry", label: "When a run will be tried again", type: "check" },
  ],
  values: (item) => ({
    isNew: String(!item),
    job: "",
    env: "prod",
    group: "",
    on_failure: String(item?.on_failure ?? true),
    on_retry: String(item?.on_retry ?? false),
  }),
  create: ({ job = "", env = "", group = "", on_failure, on_retry }) =>
    api.createNotification({
      body: { job, env, group, on_failure: on_failure === "true", on_retry: on_retry === "true" },
    }),
  update: (item, { on_failure, on_retry }) =>
    api.updateNotification({
      path: { ref: item.id },
      body: { on_failure: on_failure === "true", on_retry: on_retry === "true" },
      headers: ifUnchanged(item),
    }),
  remove: (item) => api.deleteNotification({ path: { ref: item.id } }),
};
