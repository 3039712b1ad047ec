import "@fontsource-variable/inter";
import "@fontsource-variable/jetbrains-mono";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/components.css";
import "./styles/logs.css";
import "./styles/pages.css";
import { QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { createRoot } from "react-dom/client";
import { newQueryClient } from "./api/queries";
import { configureClient, onSignedOut } from "./api/session";
import { newRouter } from "./app/router";

configureClient();
const queries = newQueryClient();
const router = newRouter(queries);
onSignedOut(() => {
  queries.removeQueries({ queryKey: ["me"] });
  void router.navigate({ to: "/login", search: { to: router.state.location.href } });
});

const root = document.getElementById("root");
if (!root) throw new Error("index.html has no #root");
createRoot(root).render(
  <QueryClientProvider client={queries}>
    <RouterProvider router={router} />
  </QueryClientProvider>,
);
