import { useQueryClient } from "@tanstack/react-query";
import { useRouter, useSearch } from "@tanstack/react-router";
import { type FormEvent, useState } from "react";
import { basePath } from "../api/base";
import { login } from "../api/calls";
import { meQuery } from "../api/queries";
import { rememberCsrf } from "../api/session";
import { Brand } from "../app/Shell";
import { usePageTitle } from "../app/usePageTitle";
import { Fault, Field, Note } from "../ui/parts";

export function LoginPage() {
  const [name, setName] = useState("");
  const [password, setPassword] = useState("");
  const [error, setError] = useState<unknown>();
  const [busy, setBusy] = useState(false);
  const router = useRouter();
  const queries = useQueryClient();
  const { to, link } = useSearch({ from: "/login" });
  usePageTitle("Sign in");

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setBusy(true);
    setError(undefined);
    try {
      const me = await login({ body: { name, password } });
      rememberCsrf(me.csrf);
      await queries.fetchQuery({ ...meQuery, staleTime: 0 });
      // The history knows nothing of the sub-path that the pages may lie below.
      router.history.push(basePath + inside(to));
    } catch (problem) {
      setError(problem);
      setBusy(false);
    }
  };

  return (
    <main className="login">
      <form className="card" onSubmit={submit}>
        <Brand />
        <h1>Sign in</h1>
        {link && (
          <Note tone="warn">This sign-in link was used already, or is too old. `kirby dev` prints a new one.</Note>
        )}
        {error !== undefined && <Fault error={error} />}
        <Field label="Name">
          {(attributes) => (
            <input
              {...attributes}
              className="input"
              autoComplete="username"
              required
              value={name}
              onChange={(event) => setName(event.target.value)}
            />
          )}
        </Field>
        <Field label="Password">
          {(attributes) => (
            <input
              {...attributes}
              className="input"
              type="password"
              autoComplete="current-password"
              required
              value={password}
              onChange={(event) => setPassword(event.target.value)}
            />
          )}
        </Field>
        <button type="submit" className="button primary" disabled={busy}>
          {busy ? "Signing in…" : "Sign in"}
        </button>
        <p className="muted" style={{ fontSize: 13 }}>
          No account yet? <code>kirby adduser NAME</code> makes one; <code>kirby dev</code> prints a link that signs you
          in.
        </p>
      </form>
    </main>
  );
}

/** Only addresses of our own: a login page must not send people elsewhere. */
function inside(to: string | undefined): string {
  return to && /^\/(?![/\\])/.test(to) && !to.includes("/login") ? to : "/";
}
