import type { IconName } from "../ui/Icon";

export interface Place {
  to: string;
  name: string;
  icon: IconName;
  group: string;
  admin?: boolean;
}

export const PLACES: readonly Place[] = [
  { to: "/", name: "Overview", icon: "home", group: "" },
  { to: "/runs", name: "Runs", icon: "list", group: "" },
  { to: "/backfills", name: "Backfills", icon: "history", group: "" },
  { to: "/rewinds", name: "Rewinds", icon: "retry", group: "" },
  { to: "/daemons", name: "Daemons", icon: "retry", group: "" },
  { to: "/logs", name: "Logs", icon: "logs", group: "" },
  { to: "/jobs", name: "Jobs", icon: "box", group: "Scripts" },
  { to: "/schedules", name: "Schedules", icon: "calendar", group: "Scripts" },
  { to: "/exceptions", name: "Exceptions", icon: "pause", group: "Scripts" },
  { to: "/limits", name: "Limits", icon: "bars", group: "Scripts" },
  { to: "/environments", name: "Environments", icon: "globe", group: "Scripts" },
  { to: "/config-keys", name: "Config keys", icon: "key", group: "Scripts" },
  { to: "/scripts", name: "Packages", icon: "file", group: "Scripts" },
  { to: "/topics", name: "Topics", icon: "topic", group: "Scripts" },
  { to: "/states", name: "States", icon: "file", group: "Scripts" },
  { to: "/lineage", name: "Lineage", icon: "bolt", group: "Scripts" },
  { to: "/notifications", name: "Notifications", icon: "bell", group: "Scripts" },
  { to: "/deliveries", name: "Deliveries", icon: "upload", group: "Suite" },
  { to: "/secrets", name: "Secrets", icon: "lock", group: "Suite", admin: true },
  { to: "/supervisors", name: "Supervisors", icon: "server", group: "Suite" },
  { to: "/users", name: "Users and tokens", icon: "user", group: "Suite", admin: true },
];
