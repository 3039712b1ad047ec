import { useState } from "react";

/** A choice of how logs look, kept in this browser. */
export function usePreference(name: string, preset: boolean): [boolean, (value: boolean) => void] {
  const key = `kirby.log.${name}`;
  const [value, setValue] = useState(() => (localStorage.getItem(key) ?? String(preset)) === "true");
  const set = (next: boolean) => {
    localStorage.setItem(key, String(next));
    setValue(next);
  };
  return [value, set];
}
