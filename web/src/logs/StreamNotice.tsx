import { useEffect, useState } from "react";
import type { StreamState } from "../api/stream";
import { Note } from "../ui/parts";

/** Says when the connection is lost, and that it is back. */
export function StreamNotice({ state }: { state: StreamState | "complete" }) {
  const [phase, setPhase] = useState<"quiet" | "lost" | "back">("quiet");
  useEffect(() => {
    if (state === "lost") setPhase("lost");
    else if (state === "live" || state === "complete") setPhase((before) => (before === "lost" ? "back" : before));
  }, [state]);
  useEffect(() => {
    if (phase !== "back") return;
    const timer = setTimeout(() => setPhase("quiet"), 6000);
    return () => clearTimeout(timer);
  }, [phase]);
  return (
    <div role="status" aria-live="polite" className="stream-notice">
      {phase === "lost" && (
        <Note tone="warn" icon="spinner">
          The connection to the api is lost. Reconnecting…
        </Note>
      )}
      {phase === "back" && <Note tone="ok">Reconnected: the log goes on where it stopped.</Note>}
    </div>
  );
}
