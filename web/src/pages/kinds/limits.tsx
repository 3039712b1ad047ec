import * as api from "../../api/calls";
import { Pill } from "../../ui/Status";
import { ifUnchanged, type KindOf, orNull, query } from "./kind";

export const limits: KindOf<api.Limit> = {
  title: "Limits",
  one: "limit",
  icon: "bars",
  about: "How many runs at once may use something that they share. A job takes part by its policy “limits”.",
  empty: "When a database takes only three connections, say so here and name the limit in the jobs' policies:",
  command: "kirby limits add warehouse --places 3",
  list: () => api.listLimits({ query }),
  name: (item) => item.name,
  columns: [
    { title: "Name", narrow: "title", cell: (item) => <span className="name-cell">{item.name}</span> },
    {
      title: "Taken",
      keep: true,
      cell: (item) => (
        <Pill tone={item.taken >= item.places ? "warn" : "ok"} icon={item.taken >= item.places ? "clock" : "check"}>
          {item.key ? `${item.taken}, ${item.places} each` : `${item.taken} of ${item.places}`}
        </Pill>
      ),
    },
    { title: "Waiting", keep: true, cell: (item) => item.waiting || <span className="muted">none</span> },
    { title: "Counted per", cell: (item) => (item.key ? <code>{item.key}</code> : <span className="muted">–</span>) },
    {
      title: "Jobs",
      narrow: "wide",
      cell: (item) => item.jobs.join(", ") || <span className="muted">none names it</span>,
    },
    { title: "What is shared", cell: (item) => item.description },
  ],
  fields: [
    { name: "name", label: "Name", type: "text", required: true, when: (values) => values.isNew === "true" },
    { name: "places", label: "Places", type: "number", required: true, hint: "How many at once; 0 lets none start." },
    {
      name: "key",
      label: "Counted per",
      type: "text",
      hint: "Left empty: all together. Else job, env, namespace, labels.NAME, variables.NAME or args.0.",
      placeholder: "labels.customer",
    },
    { name: "description", label: "What is shared", type: "text" },
  ],
  values: (item) => ({
    isNew: String(!item),
    name: item?.name ?? "",
    places: String(item?.places ?? 1),
    key: item?.key ?? "",
    description: item?.description ?? "",
  }),
  create: (values) => api.createLimit({ body: { name: values.name ?? "", ...fieldsOf(values) } }),
  update: (item, values) =>
    api.updateLimit({ path: { ref: item.id }, body: fieldsOf(values), headers: ifUnchanged(item) }),
  remove: (item) => api.deleteLimit({ path: { ref: item.id } }),
};

function fieldsOf(values: Record<string, string>) {
  return { places: Number(values.places), key: orNull(values.key), description: values.description ?? "" };
}
