import * as api from "../../api/calls";
import { Pill } from "../../ui/Status";
import { ifUnchanged, type KindOf, orNull, query } from "./kind";

export const environments: KindOf<api.Environment> = {
  title: "Environments",
  one: "environment",
  icon: "globe",
  about: "Where jobs run: each has its own topics, variables and versions.",
  empty: "An environment appears with the first deployment into it, or by hand:",
  command: "kirby envs add prod",
  list: () => api.listEnvironments({ query }),
  name: (item) => item.name,
  columns: [
    { title: "Name", narrow: "title", cell: (item) => <span className="name-cell">{item.name}</span> },
    {
      title: "Topic prefix",
      cell: (item) => (item.topic_prefix ? <code>{item.topic_prefix}</code> : <span className="muted">none</span>),
    },
    { title: "Kafka", cell: (item) => item.kafka_bootstrap_servers ?? <span className="muted">the suite's</span> },
    {
      title: "State",
      cell: (item) =>
        item.paused ? (
          <Pill tone="warn" icon="pause">
            Paused{item.pause_reason && `: ${item.pause_reason}`}
          </Pill>
        ) : (
          <Pill tone="ok" icon="check">
            Active
          </Pill>
        ),
    },
  ],
  fields: [
    { name: "name", label: "Name", type: "text", required: true, when: (values) => values.isNew === "true" },
    {
      name: "topic_prefix",
      label: "Topic prefix",
      type: "text",
      hint: "Before its topics. Left empty for a new one: none for prod, else NAME.",
    },
    {
      name: "kafka",
      label: "Kafka bootstrap servers",
      type: "text",
      hint: "Left empty: the suite's own.",
      placeholder: "broker-1:9092",
    },
    {
      name: "paused",
      label: "Paused",
      type: "check",
      hint: "(due times are skipped)",
      when: (values) => values.isNew !== "true",
    },
    { name: "pause_reason", label: "Why", type: "text", when: (values) => values.paused === "true" },
  ],
  values: (item) => ({
    isNew: String(!item),
    name: item?.name ?? "",
    topic_prefix: item?.topic_prefix ?? "",
    kafka: item?.kafka_bootstrap_servers ?? "",
    paused: String(item?.paused ?? false),
    pause_reason: item?.pause_reason ?? "",
  }),
  create: (values) =>
    api.createEnvironment({
      body: {
        name: values.name ?? "",
        topic_prefix: values.topic_prefix || undefined,
        kafka_bootstrap_servers: orNull(values.kafka),
      },
    }),
  update: (item, values) =>
    api.updateEnvironment({
      path: { ref: item.id },
      body: {
        topic_prefix: values.topic_prefix ?? "",
        kafka_bootstrap_servers: orNull(values.kafka),
        paused: values.paused === "true",
        pause_reason: values.paused === "true" ? orNull(values.pause_reason) : null,
      },
      headers: ifUnchanged(item),
    }),
  remove: (item) => api.deleteEnvironment({ path: { ref: item.id } }),
};
