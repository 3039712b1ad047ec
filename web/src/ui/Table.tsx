import type { ReactNode } from "react";

export interface Column<T> {
  title: string;
  cell: (row: T) => ReactNode;
  /**
   * On a narrow screen, where a row is a card: first (`lead`) or last (`corner`) in its top line, the card's
   * title, over the whole width, or not at all. Else half a line with its label.
   */
  narrow?: "lead" | "corner" | "title" | "wide" | "hide";
  align?: "end";
  /** Takes what width is left; long text in it is cut. */
  grow?: boolean;
  /** Never broken over lines. */
  keep?: boolean;
}

interface TableProps<T> {
  label: string;
  columns: readonly Column<T>[];
  rows: readonly T[];
  rowKey: (row: T) => string;
}

/** A table; on a narrow screen each row is a card. */
export function Table<T>({ label, columns, rows, rowKey }: TableProps<T>) {
  return (
    <table className="table" aria-label={label}>
      <thead>
        <tr>
          {columns.map((column) => (
            <th key={column.title} scope="col" className={column.align}>
              {column.title || <span className="visually-hidden">Actions</span>}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {rows.map((row) => (
          <tr key={rowKey(row)}>
            {columns.map((column) => (
              <td key={column.title} data-label={column.title} className={cellClass(column)}>
                {column.cell(row)}
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function cellClass<T>({ title, align, grow, keep, narrow }: Column<T>): string {
  const labelled = title && (!narrow || narrow === "wide");
  return [align, grow && "grow", keep && "keep", narrow === "hide" ? "blank" : narrow, labelled && "labelled"]
    .filter(Boolean)
    .join(" ");
}
