import { keepPreviousData, QueryClient, queryOptions } from "@tanstack/react-query";
import * as api from "./calls";
import { Problem } from "./problem";

/** What the suite has of configured things is small: one page of this size holds the lists. */
export const LIST_LIMIT = 500;

export function newQueryClient(): QueryClient {
  return new QueryClient({
    defaultOptions: {
      queries: {
        staleTime: 5_000,
        // A refusal stays one; what did not answer is asked again.
        retry: (failures, error) =>
          failures < 2 && !(error instanceof Problem && error.status >= 400 && error.status < 500),
        retryDelay: (failures) => 400 * 2 ** failures,
      },
    },
  });
}

export interface RunFilter {
  job?: string | undefined;
  env?: string | undefined;
  status?: string | undefined;
  kind?: string | undefined;
  q?: string | undefined;
  since?: string | undefined;
  backfill?: string | undefined;
  parent?: string | undefined;
  cursor?: string | undefined;
  limit?: number | undefined;
}

export const meQuery = queryOptions({
  queryKey: ["me"],
  queryFn: () => api.me(),
  staleTime: Number.POSITIVE_INFINITY,
  retry: false,
});
export const healthQuery = queryOptions({
  queryKey: ["health"],
  queryFn: () => api.getHealth(),
  refetchInterval: 10_000,
});
export const jobsQuery = queryOptions({
  queryKey: ["jobs"],
  queryFn: () => api.listJobs({ query: { limit: LIST_LIMIT } }),
});
export const environmentsQuery = queryOptions({
  queryKey: ["environments"],
  queryFn: () => api.listEnvironments({ query: { limit: LIST_LIMIT } }),
});
export const schedulesQuery = queryOptions({
  queryKey: ["schedules"],
  queryFn: () => api.listSchedules({ query: { limit: LIST_LIMIT } }),
});
export const supervisorsQuery = queryOptions({
  queryKey: ["supervisors"],
  queryFn: () => api.listSupervisors(),
  refetchInterval: 5_000,
});
export const alertsQuery = queryOptions({
  queryKey: ["alerts"],
  queryFn: () => api.listAlerts({ query: { state: "open", limit: 20 } }),
  refetchInterval: 10_000,
});
export const daemonsQuery = queryOptions({
  queryKey: ["daemons"],
  queryFn: () => api.listDaemons(),
  refetchInterval: 5_000,
});

export const secretsQuery = queryOptions({
  queryKey: ["secrets"],
  queryFn: () => api.listSecrets({ query: { limit: LIST_LIMIT } as never }) as Promise<api.Listed<api.SecretSummary>>,
});

export function deliveriesQuery(cursor: string | undefined) {
  return queryOptions({
    queryKey: ["deliveries", cursor],
    queryFn: () => api.listDeliveries({ query: { cursor } as never }) as Promise<api.Listed<api.Delivery>>,
    placeholderData: keepPreviousData,
    refetchInterval: 10_000,
  });
}

export const backfillsQuery = queryOptions({
  queryKey: ["backfills"],
  queryFn: () => api.listBackfills({ query: { limit: 50 } }),
  // What moves is looked at often; what has ended changes no more.
  refetchInterval: (query) => (query.state.data?.items.some((item) => item.state === "running") ? 2_000 : 15_000),
});

export const rewindsQuery = queryOptions({
  queryKey: ["rewinds"],
  queryFn: () => api.listRewinds({ query: { limit: 50 } }),
  refetchInterval: (query) =>
    query.state.data?.items.some((item) => item.state === "running" || item.state === "draining") ? 1_000 : 15_000,
});

export function runsQuery(filter: RunFilter) {
  return queryOptions({
    queryKey: ["runs", filter],
    queryFn: () => api.listRuns({ query: filter }),
    placeholderData: keepPreviousData,
    // The stream tells of changes; this is the net under it.
    refetchInterval: 30_000,
  });
}

export function runQuery(runId: string) {
  return queryOptions({
    queryKey: ["run", runId],
    queryFn: () => api.getRun({ path: { run_id: runId } }),
    refetchInterval: 15_000,
  });
}

export function jobQuery(ref: string) {
  return queryOptions({
    queryKey: ["jobs", ref],
    queryFn: () => api.getJob({ path: { ref } }),
    refetchInterval: 15_000,
  });
}

export function contextsQuery(job: string) {
  return queryOptions({
    queryKey: ["jobs", job, "contexts"],
    queryFn: () => api.listContexts({ query: { job, limit: LIST_LIMIT } }),
    refetchInterval: 10_000,
  });
}
