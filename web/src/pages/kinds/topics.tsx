import * as api from "../../api/calls";
import { ifUnchanged, type KindOf, orNull, query } from "./kind";

export const topics: KindOf<api.Topic> = {
  title: "Topics",
  one: "topic",
  icon: "topic",
  about: "What scripts read and write. A topic is listed when a script registers it, or by hand.",
  empty: "A script that says what it reads and writes lists its topics here.",
  command: "kirby topics add weather.raw",
  list: () => api.listTopics({ query }),
  name: (item) => item.name,
  columns: [
    { title: "Name", narrow: "title", cell: (item) => <span className="name-cell">{item.name}</span> },
    { title: "Description", narrow: "wide", cell: (item) => item.description || <span className="muted">–</span> },
    { title: "Fresh within", cell: (item) => item.fresh_within ?? <span className="muted">–</span> },
  ],
  fields: [
    { name: "name", label: "Name", type: "text", required: true, when: (values) => values.isNew === "true" },
    { name: "description", label: "Description", type: "text" },
    { name: "fresh", label: "Fresh within", type: "text", hint: "Alert when no message comes for so long: 10m, 1h." },
  ],
  values: (item) => ({
    isNew: String(!item),
    name: item?.name ?? "",
    description: item?.description ?? "",
    fresh: item?.fresh_within ?? "",
  }),
  create: ({ name = "", description = "", fresh }) =>
    api.createTopic({ body: { name, description, fresh_within: orNull(fresh) } }),
  update: (item, { description = "", fresh }) =>
    api.updateTopic({
      path: { ref: item.id },
      body: { description, fresh_within: orNull(fresh) },
      headers: ifUnchanged(item),
    }),
  remove: (item) => api.deleteTopic({ path: { ref: item.id } }),
};
