/** The api as the pages know it: names and types of the generated client, in one place. */
import type * as C from "../client";

export * from "../client/sdk.gen";

type Item<P extends { items: unknown[] }> = P["items"][number];

export type Me = C.MeResponse;
export type Health = C.GetHealthResponse;
export type Run = C.GetRunResponse;
export type Attempt = NonNullable<Run["attempts"]>[number];
export type LogPage = C.GetRunLogsResponse;
export type LogLine = Item<LogPage>;
export type LogGap = NonNullable<LogPage["gaps"]>[number];
export type Job = C.GetJobResponse;
export type ContextSummary = NonNullable<Job["contexts"]>[number];
export type Context = C.GetContextResponse;
export type Limit = C.GetLimitResponse;
export type Environment = C.GetEnvironmentResponse;
export type Schedule = C.GetScheduleResponse;
export type ConfigKey = C.GetConfigKeyResponse;
export type Script = C.GetScriptResponse;
export type Topic = C.GetTopicResponse;
export type ScheduleException = C.GetExceptionResponse;
export type NewException = C.NewException;
export type NotificationGroup = C.GetNotificationGroupResponse;
export type Notification = C.GetNotificationResponse;
export type Supervisor = Item<C.ListSupervisorsResponse>;
export type Alert = Item<C.ListAlertsResponse>;
export type Daemon = Item<C.ListDaemonsResponse>;
export type Slot = Daemon["slots"][number];
export type StateSummary = Item<C.ListStatesResponse>;
export type StateVersion = Item<C.ListStateHistoryResponse>;
export type LineageGraph = C.GetLineageGraphResponse;
export type LineageNode = LineageGraph["nodes"][number];
export type LineageEdge = LineageGraph["edges"][number];
export type Journey = C.GetJourneyResponse;
export type LineageHop = Journey["hops"][number];
export type LineageTouch = Journey["touched"][number];
export type TopicMessage = Item<C.ListMessagesResponse>;
export type User = Item<C.ListUsersResponse>;
export type Token = Item<C.ListTokensResponse>;
export type Revision = Item<C.ListJobRevisionsResponse>;
export type Rewind = C.GetRewindResponse;
export type Backfill = C.GetBackfillResponse;
export type BackfillPreview = C.PreviewBackfillResponse;
export type NewBackfill = C.PreviewBackfillData["body"];

/** What the vault and the notifier answer through the api, which passes it on as it is. */
export interface SecretSummary {
  path: string;
  version: number;
  fields: string[];
  updated_at: string;
  updated_by: string;
}
export interface Delivery {
  id: string;
  type: string;
  run_id: string;
  job: string;
  env: string;
  kind: "webhook" | "email";
  target: string;
  group: string;
  state: string;
  attempts: number;
  created_at: string;
  next_at: string | null;
  log: { attempt: number; at: string; status: number | null; error: string | null }[];
}
export interface Listed<T> {
  items: T[];
  next: string | null;
}
