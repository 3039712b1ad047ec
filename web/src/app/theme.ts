import { useState } from "react";

export type Theme = "system" | "light" | "dark";
const KEY = "kirby.theme";

function chosen(): Theme {
  const value = localStorage.getItem(KEY);
  return value === "light" || value === "dark" ? value : "system";
}

export function useTheme(): [Theme, (theme: Theme) => void] {
  const [theme, setTheme] = useState(chosen);
  const choose = (next: Theme) => {
    if (next === "system") localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, next);
    document.documentElement.style.colorScheme = next === "system" ? "" : next;
    setTheme(next);
  };
  return [theme, choose];
}
