import { Link } from "@tanstack/react-router";
import * as api from "../../api/calls";
import { Pill } from "../../ui/Status";
import { ifUnchanged, type KindOf, orNull, query } from "./kind";

export const configKeys: KindOf<api.ConfigKey> = {
  title: "Config keys",
  one: "config key",
  icon: "key",
  about:
    "Variables of the scripts' environment. A job's value goes before a global one, one of job and environment before both.",
  empty: "Scripts read their settings from environment variables; set one with:",
  command: "kirby config-keys add NAME VALUE --job hello",
  list: () => api.listConfigKeys({ query }),
  name: (item) => item.name,
  columns: [
    { title: "Name", narrow: "title", cell: (item) => <span className="name-cell mono">{item.name}</span> },
    {
      title: "Value",
      narrow: "wide",
      cell: (item) =>
        item.value.startsWith("secret://") ? (
          <Pill tone="odd" icon="key">
            <span className="mono">{item.value.slice(9)}</span>
          </Pill>
        ) : (
          <span className="mono">{item.value}</span>
        ),
    },
    {
      title: "Scope",
      cell: (item) =>
        item.job ? (
          <span className="row" style={{ gap: 6 }}>
            <Link to="/job/$" params={{ _splat: item.job }}>
              {item.job}
            </Link>
            {item.env && <span className="tag">{item.env}</span>}
          </span>
        ) : (
          <span className="muted">every job</span>
        ),
    },
  ],
  fields: [
    {
      name: "name",
      label: "Name",
      type: "text",
      required: true,
      mono: true,
      placeholder: "API_URL",
      when: (values) => values.isNew === "true",
    },
    {
      name: "value",
      label: "Value",
      type: "lines",
      mono: true,
      hint: "secret://path#field is fetched from the vault when a run starts.",
    },
    {
      name: "job",
      label: "Job",
      type: "text",
      hint: "Left empty: every job.",
      when: (values) => values.isNew === "true",
    },
    {
      name: "env",
      label: "Environment",
      type: "text",
      hint: "Left empty: the job in every environment.",
      when: (values) => values.isNew === "true" && Boolean(values.job),
    },
  ],
  values: (item) => ({ isNew: String(!item), name: item?.name ?? "", value: item?.value ?? "", job: "", env: "" }),
  create: ({ name = "", value = "", job, env }) =>
    api.createConfigKey({ body: { name, value, job: orNull(job), env: job ? orNull(env) : null } }),
  update: (item, { value = "" }) =>
    api.updateConfigKey({ path: { ref: item.id }, body: { value }, headers: ifUnchanged(item) }),
  remove: (item) => api.deleteConfigKey({ path: { ref: item.id } }),
};
