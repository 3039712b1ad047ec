import type { QueryClient } from "@tanstack/react-query";
import { createRootRoute, createRoute, createRouter, Outlet, redirect } from "@tanstack/react-router";
import { basePath } from "../api/base";
import { Problem } from "../api/problem";
import { meQuery } from "../api/queries";
import { rememberCsrf } from "../api/session";
import { AllLogsPage } from "../pages/AllLogsPage";
import { BackfillsPage } from "../pages/BackfillsPage";
import { DaemonsPage } from "../pages/DaemonsPage";
import { DeliveriesPage } from "../pages/DeliveriesPage";
import { DeployPage } from "../pages/DeployPage";
import { EntitiesPage } from "../pages/EntitiesPage";
import { JobPage } from "../pages/JobPage";
import { JobsPage } from "../pages/JobsPage";
import { LineagePage } from "../pages/LineagePage";
import { LoginPage } from "../pages/LoginPage";
import { NotificationsPage } from "../pages/NotificationsPage";
import { OverviewPage } from "../pages/OverviewPage";
import { RewindsPage } from "../pages/RewindsPage";
import { RunPage } from "../pages/RunPage";
import { RunsPage } from "../pages/RunsPage";
import { SecretsPage } from "../pages/SecretsPage";
import { StatesPage } from "../pages/StatesPage";
import { SupervisorsPage } from "../pages/SupervisorsPage";
import { UsersPage } from "../pages/UsersPage";
import { Empty, Fault } from "../ui/parts";
import { Shell } from "./Shell";
import { deploySearch, lineageSearch, loginSearch, logsSearch, runSearch, runsSearch, statesSearch } from "./search";

export function newRouter(queries: QueryClient) {
  const root = createRootRoute({ component: Outlet });
  const login = createRoute({
    getParentRoute: () => root,
    path: "/login",
    component: LoginPage,
    validateSearch: loginSearch,
  });
  const shell = createRoute({
    getParentRoute: () => root,
    id: "shell",
    component: Shell,
    beforeLoad: async ({ location }) => {
      try {
        rememberCsrf((await queries.ensureQueryData(meQuery)).csrf);
      } catch (error) {
        if (error instanceof Problem && error.status === 401)
          throw redirect({ to: "/login", search: { to: location.href } });
        throw error;
      }
    },
    errorComponent: ({ error, reset }) => (
      <div className="login">
        <Fault error={error} retry={reset} />
      </div>
    ),
  });
  const page = <P extends string>(path: P, component: () => React.ReactNode) =>
    createRoute({ getParentRoute: () => shell, path, component });
  const runs = createRoute({
    getParentRoute: () => shell,
    path: "/runs",
    component: RunsPage,
    validateSearch: runsSearch,
  });
  const run = createRoute({
    getParentRoute: () => shell,
    path: "/runs/$runId",
    component: RunPage,
    validateSearch: runSearch,
  });
  const logs = createRoute({
    getParentRoute: () => shell,
    path: "/logs",
    component: AllLogsPage,
    validateSearch: logsSearch,
  });
  const deploy = createRoute({
    getParentRoute: () => shell,
    path: "/deploy",
    component: DeployPage,
    validateSearch: deploySearch,
  });
  const states = createRoute({
    getParentRoute: () => shell,
    path: "/states",
    component: StatesPage,
    validateSearch: statesSearch,
  });
  const lineage = createRoute({
    getParentRoute: () => shell,
    path: "/lineage",
    component: LineagePage,
    validateSearch: lineageSearch,
  });
  const tree = root.addChildren([
    login,
    shell.addChildren([
      page("/", OverviewPage),
      runs,
      run,
      logs,
      page("/daemons", DaemonsPage),
      page("/jobs", JobsPage),
      page("/job/$", JobPage),
      deploy,
      states,
      lineage,
      page("/backfills", BackfillsPage),
      page("/rewinds", RewindsPage),
      page("/deliveries", DeliveriesPage),
      page("/secrets", SecretsPage),
      page("/supervisors", SupervisorsPage),
      page("/notifications", NotificationsPage),
      page("/users", UsersPage),
      page("/schedules", () => <EntitiesPage key="schedules" kind="schedules" />),
      page("/exceptions", () => <EntitiesPage key="exceptions" kind="exceptions" />),
      page("/limits", () => <EntitiesPage key="limits" kind="limits" />),
      page("/environments", () => <EntitiesPage key="environments" kind="environments" />),
      page("/config-keys", () => <EntitiesPage key="config-keys" kind="config-keys" />),
      page("/scripts", () => <EntitiesPage key="scripts" kind="scripts" />),
      page("/topics", () => <EntitiesPage key="topics" kind="topics" />),
    ]),
  ]);
  return createRouter({
    routeTree: tree,
    basepath: basePath || "/",
    defaultPreload: false,
    scrollRestoration: true,
    defaultNotFoundComponent: () => <Empty icon="question" title="There is no such page" />,
  });
}

declare module "@tanstack/react-router" {
  interface Register {
    router: ReturnType<typeof newRouter>;
  }
}
