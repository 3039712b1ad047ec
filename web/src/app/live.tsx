import { type QueryClient, useQueryClient } from "@tanstack/react-query";
import { createContext, type ReactNode, useContext, useEffect, useState } from "react";
import { apiUrl } from "../api/base";
import { tellSignedOut } from "../api/session";
import { openStream, type StreamState } from "../api/stream";

const LiveContext = createContext<StreamState>("connecting");

/** Lists are asked for again at most this often, however many runs change. */
const PAUSE_MS = 1000;

interface RunChanged {
  run_id: string;
}

/** Keeps what is on the screen current: each change of a run makes what shows it stale. */
export function Live({ children }: { children: ReactNode }) {
  const queries = useQueryClient();
  const [state, setState] = useState<StreamState>("connecting");
  useEffect(() => {
    const stale = throttledInvalidation(queries);
    const close = openStream({
      url: () => apiUrl("runs/stream"),
      onState: (next) => {
        setState(next);
        if (next === "live") stale.everything();
      },
      onRefused: (status) => status === 401 && tellSignedOut(),
      onEvents: (events) => {
        for (const event of events) if (event.event === "run") stale.run((JSON.parse(event.data) as RunChanged).run_id);
      },
    });
    return () => {
      close();
      stale.stop();
    };
  }, [queries]);
  return <LiveContext.Provider value={state}>{children}</LiveContext.Provider>;
}

export function useLive(): StreamState {
  return useContext(LiveContext);
}

function throttledInvalidation(queries: QueryClient) {
  let changed = new Set<string>();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const tell = () => {
    timer = undefined;
    const ids = changed;
    changed = new Set();
    void queries.invalidateQueries({ queryKey: ["runs"] });
    for (const id of ids) void queries.invalidateQueries({ queryKey: ["run", id] });
  };
  return {
    run: (id: string) => {
      changed.add(id);
      timer ??= setTimeout(tell, changed.size === 1 ? 150 : PAUSE_MS);
    },
    everything: () =>
      void queries.invalidateQueries({ predicate: (query) => query.state.dataUpdatedAt < Date.now() - 2000 }),
    stop: () => clearTimeout(timer),
  };
}
