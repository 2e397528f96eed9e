// Dark, light, or as the system says; the choice stays in the browser.
import { signal } from "@preact/signals";
import { isDark } from "./marks";

export type Theme = "system" | "light" | "dark";
const KEY = "pystematic theme";
const THEMES: readonly Theme[] = ["system", "light", "dark"];
const system = window.matchMedia("(prefers-color-scheme: dark)");

export const theme = signal<Theme>(readTheme());

function readTheme(): Theme {
  try {
    return THEMES.find((known) => known === localStorage.getItem(KEY)) ?? "system";
  } catch {
    return "system";
  }
}

export function setTheme(chosen: Theme): void {
  theme.value = chosen;
  try {
    localStorage.setItem(KEY, chosen);
  } catch {
    // Chosen for this page only.
  }
  apply();
}

export function nextTheme(): void {
  setTheme(isDark.value ? "light" : "dark");
}

function apply(): void {
  isDark.value = theme.value === "dark" || (theme.value === "system" && system.matches);
  document.documentElement.dataset["theme"] = isDark.value ? "dark" : "light";
}

export function startTheme(): void {
  system.addEventListener("change", apply);
  apply();
}
