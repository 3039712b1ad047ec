import { useSyncExternalStore } from "react";
import { Icon } from "./Icon";

interface Toast {
  id: number;
  tone: "ok" | "fail";
  text: string;
}

let toasts: readonly Toast[] = [];
let last = 0;
const listeners = new Set<() => void>();

function show(next: readonly Toast[]): void {
  toasts = next;
  for (const listener of listeners) listener();
}

function dismiss(id: number): void {
  show(toasts.filter((toast) => toast.id !== id));
}

/** Says something in passing; what failed stays longer. */
export function say(text: string, tone: Toast["tone"] = "ok"): void {
  last += 1;
  const id = last;
  show([...toasts.slice(-3), { id, tone, text }]);
  setTimeout(() => dismiss(id), tone === "ok" ? 4000 : 9000);
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function Toasts() {
  const shown = useSyncExternalStore(subscribe, () => toasts);
  return (
    <div className="toasts" role="status" aria-live="polite">
      {shown.map((toast) => (
        <div key={toast.id} className="toast">
          <span style={{ color: `var(--${toast.tone})`, marginTop: 2 }}>
            <Icon name={toast.tone === "ok" ? "check" : "alert"} />
          </span>
          <div>{toast.text}</div>
          <button
            type="button"
            className="button quiet icon"
            style={{ minHeight: 22, width: 22 }}
            aria-label="Dismiss"
            onClick={() => dismiss(toast.id)}
          >
            <Icon name="cross" size={12} />
          </button>
        </div>
      ))}
    </div>
  );
}
