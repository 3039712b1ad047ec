import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, Outlet, useRouterState } from "@tanstack/react-router";
import { useEffect, useRef, useState } from "react";
import { logout } from "../api/calls";
import { meQuery } from "../api/queries";
import { tellSignedOut } from "../api/session";
import { Icon, type IconName } from "../ui/Icon";
import { say, Toasts } from "../ui/toasts";
import { Live, useLive } from "./live";
import { Palette } from "./Palette";
import { PLACES } from "./places";
import { type Theme, useTheme } from "./theme";
import "./layout.css";

export function Shell() {
  const [open, setOpen] = useState(false);
  const [finding, setFinding] = useState(false);
  const path = useRouterState({ select: (state) => state.location.pathname });
  const main = useRef<HTMLElement>(null);
  // biome-ignore lint/correctness/useExhaustiveDependencies: another page closes the menu.
  useEffect(() => setOpen(false), [path]);
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.key === "k" && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        setFinding(true);
      } else if (event.key === "Escape") setOpen(false);
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, []);
  return (
    <Live>
      <button type="button" className="skip" onClick={() => main.current?.focus()}>
        Skip to the content
      </button>
      <div className="shell">
        <header className="topbar">
          <button
            type="button"
            className="button quiet icon"
            aria-label="Menu"
            aria-expanded={open}
            onClick={() => setOpen(!open)}
          >
            <Icon name="menu" />
          </button>
          <Brand />
          <button type="button" className="button quiet icon" aria-label="Find" onClick={() => setFinding(true)}>
            <Icon name="search" />
          </button>
        </header>
        {open && <button type="button" className="veil" aria-label="Close the menu" onClick={() => setOpen(false)} />}
        <Side open={open} onFind={() => setFinding(true)} />
        <main ref={main} className="main" tabIndex={-1}>
          <div className="inner">
            <Outlet />
          </div>
        </main>
      </div>
      {finding && <Palette onClose={() => setFinding(false)} />}
      <Toasts />
    </Live>
  );
}

export function Brand() {
  return (
    <Link to="/" className="brand">
      <svg width="26" height="26" viewBox="0 0 32 32" aria-hidden="true">
        <rect width="32" height="32" rx="9" fill="var(--brand)" />
        <path
          d="M10.500 7v18M22 8.200 12.200 16 22 24.400"
          fill="none"
          stroke="#fff"
          strokeWidth="4"
          strokeLinecap="round"
          strokeLinejoin="round"
        />
      </svg>
      Kirby
    </Link>
  );
}

function Side({ open, onFind }: { open: boolean; onFind: () => void }) {
  const role = useQuery(meQuery).data?.role;
  const path = useRouterState({ select: (state) => state.location.pathname });
  const groups = [...new Set(PLACES.map((place) => place.group))];
  return (
    <aside className={`side ${open ? "open" : ""}`} aria-label="Kirby">
      <Brand />
      <button type="button" className="find" onClick={onFind}>
        <Icon name="search" /> Find <kbd>Ctrl K</kbd>
      </button>
      <nav aria-label="Pages">
        {groups.map((group) => (
          <div key={group}>
            {group && <div className="group">{group}</div>}
            {PLACES.filter((place) => place.group === group && (!place.admin || role === "admin")).map((place) => (
              <Link
                key={place.to}
                to={place.to}
                className={`nav-link ${isWithin(path, place.to) ? "active" : ""}`}
                aria-current={isWithin(path, place.to) ? "page" : undefined}
              >
                <Icon name={place.icon} />
                {place.name}
              </Link>
            ))}
          </div>
        ))}
      </nav>
      <div className="foot">
        <Connection />
        <WhoAmI />
      </div>
    </aside>
  );
}

/** Whether a page belongs to a place: a job's page to the jobs. */
function isWithin(path: string, place: string): boolean {
  if (place === "/jobs" && (path.startsWith("/job/") || path === "/deploy")) return true;
  return path === place || (place !== "/" && path.startsWith(`${place}/`));
}

function Connection() {
  const state = useLive();
  const live = state === "live";
  return (
    <div className="row muted" style={{ padding: "0 10px", fontSize: 12.5 }} role="status" aria-live="polite">
      <span className={`live-dot ${live ? "solid-ok" : "solid-warn"}`} />
      {live ? "Live" : state === "connecting" ? "Connecting…" : "Reconnecting…"}
    </div>
  );
}

const THEMES: Record<Theme, [Theme, IconName]> = {
  system: ["light", "screen"],
  light: ["dark", "sun"],
  dark: ["system", "moon"],
};

function WhoAmI() {
  const me = useQuery(meQuery).data;
  const queries = useQueryClient();
  const [theme, choose] = useTheme();
  const [next, icon] = THEMES[theme];
  const leave = async () => {
    try {
      await logout();
    } catch (error) {
      say(String(error), "fail");
    }
    queries.clear();
    tellSignedOut();
  };
  return (
    <div className="whoami">
      <div>
        <div style={{ fontWeight: 560, overflowWrap: "anywhere" }}>{me?.name}</div>
        <div className="muted" style={{ fontSize: 12 }}>
          {me?.role}
          {me?.version && ` · ${me.version}`}
        </div>
      </div>
      <button
        type="button"
        className="button quiet icon"
        title={`Theme: ${theme}`}
        aria-label={`Theme: ${theme}; change to ${next}`}
        onClick={() => choose(next)}
      >
        <Icon name={icon} />
      </button>
      <button type="button" className="button quiet icon" title="Sign out" aria-label="Sign out" onClick={leave}>
        <Icon name="exit" />
      </button>
    </div>
  );
}
