// Keys of the page: views register what theirs do, the help lists what is registered.
import { useLayoutEffect, useRef } from "preact/hooks";

export interface KeyBinding {
  keys: string;
  help: string;
  run: (event: KeyboardEvent) => void;
}

interface Layer {
  current: KeyBinding[];
}

const layers: Layer[] = [];

export function bindings(): KeyBinding[] {
  return layers.flatMap((layer) => layer.current);
}

/** Bind keys while a component is there. `g r` is one key after the other, `j | ArrowDown` either of two. */
export function useKeys(keys: KeyBinding[]): void {
  const layer = useRef<KeyBinding[]>(keys);
  layer.current = keys;
  useLayoutEffect(() => {
    layers.push(layer);
    return () => {
      layers.splice(layers.indexOf(layer), 1);
    };
  }, []);
}

let pending = "";
let pendingSince = 0;
const SEQUENCE_MS = 1200;

export function startKeys(): void {
  window.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    // A dialog has the keys for itself.
    if (document.querySelector("dialog[open]")) return;
    if (isTyping(event.target)) {
      if (event.key === "Escape") (event.target as HTMLElement).blur();
      return;
    }
    const key = event.key === " " ? "Space" : event.key;
    if (isUsed(event.target, key)) return;
    const sequence = pending && Date.now() - pendingSince < SEQUENCE_MS ? `${pending} ${key}` : key;
    // The newest layer first: what stands in front of the page has the keys.
    for (const layer of [...layers].reverse()) {
      const found = layer.current.find((binding) => binding.keys.split(" | ").includes(sequence));
      if (found) {
        pending = "";
        event.preventDefault();
        found.run(event);
        return;
      }
    }
    // A key that begins nothing must not swallow the next one.
    const begins = bindings().some((binding) => binding.keys.split(" | ").some((keys) => keys.startsWith(`${key} `)));
    pending = begins ? key : "";
    pendingSince = Date.now();
  });
}

/** Whether what has the focus does something of its own with a key. */
function isUsed(target: EventTarget | null, key: string): boolean {
  if (!(target instanceof Element)) return false;
  if (key === "Enter" || key === "Space") return target.closest("button, a, summary, label, input") !== null;
  return key.startsWith("Arrow") && target.matches("input[type=range]");
}

function isTyping(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement &&
    (target.isContentEditable ||
      target instanceof HTMLTextAreaElement ||
      target instanceof HTMLSelectElement ||
      (target instanceof HTMLInputElement && !["checkbox", "range", "button"].includes(target.type)))
  );
}
