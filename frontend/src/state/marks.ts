// How a run is told from the others in charts: a colour, a marker and a dash, which stay with it.
// Colour is never alone: no two of the marks have the same marker and dash.
import { signal } from "@preact/signals";

export interface Mark {
  color: string;
  dash: number[];
  shape: "circle" | "square" | "triangle" | "diamond";
  hollow: boolean;
}

// Eight hues that stay apart for the common kinds of colour blindness, as light and as dark themes need them.
const LIGHT = ["#2563c9", "#c2410c", "#0f7b4f", "#a21caf", "#8a6d00", "#0e7490", "#be123c", "#57534e"];
const DARK = ["#7aa8ff", "#ff9a5c", "#4fd1a0", "#e08af0", "#e3c04a", "#5bd0e6", "#ff8096", "#b8b2ab"];
// Dashes only where there are more runs than hues: a dashed line that goes up and down is hard to follow.
const DASHES: number[][] = [[], [7, 3], [2, 3], [10, 3, 2, 3]];
const SHAPES: Mark["shape"][] = ["circle", "square", "triangle", "diamond"];
const SLOTS = LIGHT.length * DASHES.length;
const KEPT = 4000;

export const isDark = signal(false);

/** FNV-1a: the same id has the same mark in every browser, as long as no other drawn run has taken it. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) value = Math.imul(value ^ text.charCodeAt(at), 0x01000193);
  return value >>> 0;
}

const STORAGE_KEY = "pystematic marks";
// One for all folders: the ids of runs are different everywhere.
const slots = new Map<string, number>(readSlots());

function readSlots(): [string, number][] {
  try {
    const stored: unknown = JSON.parse(localStorage.getItem(STORAGE_KEY) ?? "[]");
    return Array.isArray(stored) ? stored.map(([id, slot]) => [String(id), Number(slot) % SLOTS || 0]) : [];
  } catch {
    // No storage, or not ours: marks are made again from the ids.
    return [];
  }
}

/** Give runs that are drawn together marks of their own; a run that has one keeps it. */
export function assignMarks(ids: readonly string[]): void {
  const taken = new Set(ids.flatMap((id) => slots.get(id) ?? []));
  let added = false;
  for (const id of ids) {
    if (slots.has(id)) continue;
    const slot = freeSlot(hash(id) % LIGHT.length, taken);
    taken.add(slot);
    slots.set(id, slot);
    added = true;
  }
  if (added) store();
}

/** Another hue before another dash, so that few runs differ in colour first. */
function freeSlot(hue: number, taken: ReadonlySet<number>): number {
  for (let row = 0; row < DASHES.length; row++)
    for (let step = 0; step < LIGHT.length; step++) {
      const slot = row * LIGHT.length + ((hue + step) % LIGHT.length);
      if (!taken.has(slot)) return slot;
    }
  return hue;
}

function store(): void {
  try {
    localStorage.setItem(STORAGE_KEY, JSON.stringify([...slots].slice(-KEPT)));
  } catch {
    // A full or forbidden storage costs only that colours may change with the next start.
  }
}

export function markOf(id: string): Mark {
  const slot = slots.get(id) ?? hash(id) % LIGHT.length;
  const hue = slot % LIGHT.length;
  return {
    color: (isDark.value ? DARK : LIGHT)[hue]!,
    dash: DASHES[Math.floor(slot / LIGHT.length)]!,
    shape: SHAPES[hue % SHAPES.length]!,
    hollow: hue >= SHAPES.length,
  };
}
