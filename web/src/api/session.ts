import { client } from "../client/client.gen";
import { basePath } from "./base";
import { toProblem } from "./problem";

let csrf = "";
let whenSignedOut: () => void = () => {};

export function rememberCsrf(token: string | null): void {
  csrf = token ?? "";
}

export function onSignedOut(callback: () => void): void {
  whenSignedOut = callback;
}

export function tellSignedOut(): void {
  whenSignedOut();
}

/** Called once, by main. */
export function configureClient(): void {
  client.setConfig({ baseUrl: window.location.origin + basePath, credentials: "same-origin" });
  client.interceptors.request.use((request) => {
    if (request.method !== "GET") request.headers.set("X-CSRF-Token", csrf);
    return request;
  });
  client.interceptors.error.use((body, response) => {
    const status = response?.status ?? 0;
    if (status === 401 && !response?.url.endsWith("/login")) whenSignedOut();
    return toProblem(body instanceof TypeError ? undefined : body, status);
  });
}
