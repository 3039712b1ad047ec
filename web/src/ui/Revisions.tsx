import { useQuery } from "@tanstack/react-query";
import type { Revision } from "../api/calls";
import { client } from "../client/client.gen";
import { Dialog } from "./Dialog";
import { Empty, Fault, Skeleton } from "./parts";
import { Time } from "./Time";

interface RevisionsProps {
  /** The kind's name in the address, such as `config-keys`. */
  kind: string;
  reference: string;
  title: string;
  onClose: () => void;
}

/** Who changed a configured thing, when, and what. */
export function Revisions({ kind, reference, title, onClose }: RevisionsProps) {
  const query = useQuery({
    queryKey: ["revisions", kind, reference],
    queryFn: async () => {
      const path = { kind, reference };
      const answer = await client.get<{ 200: { items: Revision[] } }, unknown, true>({
        url: "/api/v1/{kind}/{reference}/revisions",
        path,
        throwOnError: true,
      });
      return answer.data.items;
    },
    staleTime: 0,
  });
  const revisions = query.data && [...query.data].sort((a, b) => b.rev - a.rev);
  return (
    <Dialog title={`History of ${title}`} onClose={onClose} wide>
      {query.error ? (
        <Fault error={query.error} retry={query.refetch} />
      ) : !revisions ? (
        <Skeleton />
      ) : revisions.length ? (
        <ol className="stack">
          {revisions.map((revision, index) => (
            <li key={`${revision.rev}/${revision.at}`} className="stack" style={{ gap: 6 }}>
              <div className="row">
                <strong>{revision.action}</strong>
                <span className="muted">
                  by {revision.author} · <Time at={revision.at} /> · revision {revision.rev}
                </span>
              </div>
              <Difference before={revisions[index + 1]?.value} after={revision.value} />
            </li>
          ))}
        </ol>
      ) : (
        <Empty icon="history" title="Nothing has changed since it was made" />
      )}
    </Dialog>
  );
}

type Value = Record<string, unknown> | null | undefined;

/** What a revision changed, field by field; the first one shows all that was set. */
function Difference({ before, after }: { before: Value; after: Value }) {
  const names = [...new Set([...Object.keys(before ?? {}), ...Object.keys(after ?? {})])].filter(
    (name) => !["id", "rev", "contexts"].includes(name),
  );
  const changed = names.filter((name) => shown(before?.[name]) !== shown(after?.[name]));
  return (
    <div className="diff">
      {changed.map((name) => (
        <div key={name} style={{ padding: 0, display: "grid", gap: 2 }}>
          {shown(before?.[name]) !== "" && (
            <div className="tone-fail">
              − {name}: {shown(before?.[name])}
            </div>
          )}
          {shown(after?.[name]) !== "" && (
            <div className="tone-ok">
              + {name}: {shown(after?.[name])}
            </div>
          )}
        </div>
      ))}
      {!changed.length && <span className="muted">no field differs</span>}
    </div>
  );
}

function shown(value: unknown): string {
  if (value === null || value === undefined || value === "") return "";
  const text = typeof value === "object" ? JSON.stringify(value) : String(value);
  return text === "{}" || text === "[]" ? "" : text;
}
