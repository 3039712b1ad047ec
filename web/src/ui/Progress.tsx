import { toneOf } from "./Status";

export interface Part {
  status: string;
  count: number;
}

/** How much of a whole is over, coloured by how it went; the words beside it say the same. */
export function Progress({ label, total, parts }: { label: string; total: number; parts: readonly Part[] }) {
  const over = parts.reduce((sum, part) => sum + part.count, 0);
  return (
    <div
      className="progress"
      role="progressbar"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={total}
      aria-valuenow={Math.min(over, total)}
    >
      {parts
        .filter((part) => part.count > 0)
        .map((part) => (
          <span
            key={part.status}
            className={`tone-${toneOf(part.status)}`}
            style={{ width: `${(100 * part.count) / Math.max(total, 1)}%` }}
          />
        ))}
    </div>
  );
}
