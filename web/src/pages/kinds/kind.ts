/** What a list of configured things shows and asks. */
import type { ReactNode } from "react";
import { LIST_LIMIT } from "../../api/queries";
import type { FormField, Values } from "../../forms/FormDialog";
import type { IconName } from "../../ui/Icon";
import type { Column } from "../../ui/Table";

export interface Entity {
  id: string;
  rev: number;
}

export interface KindOf<T extends Entity> {
  title: string;
  one: string;
  icon: IconName;
  about: string;
  empty: string;
  command?: string;
  list: () => Promise<{ items: T[] }>;
  name: (item: T) => string;
  columns: readonly Column<T>[];
  fields?: readonly FormField[];
  values?: (item: T | undefined) => Values;
  /** What the form shows below its fields. */
  below?: (values: Values, item: T | undefined) => ReactNode;
  create?: (values: Values) => Promise<unknown>;
  update?: (item: T, values: Values) => Promise<unknown>;
  remove?: (item: T) => Promise<unknown>;
}

/** All of them: what is configured is small. */
export const query = { limit: LIST_LIMIT };

/** The change is refused when somebody else was faster. */
export function ifUnchanged(item: Entity) {
  return { "if-match": `"${item.rev}"` };
}

export function orNull(text: string | undefined): string | null {
  return text?.trim() || null;
}
