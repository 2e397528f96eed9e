// News from the folder: what changed since the page asked.
import { useEffect, useRef } from "preact/hooks";
import { signal } from "@preact/signals";
import type { Change, Session } from "../api/schema";
import { source } from "../api/source";

export const session = signal<Session | null>(null);
export const connected = signal<boolean | null>(null);

type Listener = (change: Change) => void;
const listeners = new Set<Listener>();

export function startLive(): void {
  source().follow(
    (change) => {
      for (const listener of [...listeners]) listener(change);
    },
    (state) => {
      connected.value = state;
    },
  );
  listeners.add(() => void readSession());
}

/** Ask for the session; without an answer what is known stays, and the page says that it is not connected. */
export async function readSession(): Promise<void> {
  try {
    session.value = await source().session();
  } catch {
    connected.value = false;
  }
}

/** Hear of changes while a component is there, at most one call each ``everyMs``; what came between is joined. */
export function useChanges(listener: Listener, everyMs = 1000): void {
  const newest = useRef(listener);
  newest.current = listener;
  useEffect(() => {
    let waiting: Change | null = null;
    let timer = 0;
    let last = 0;
    const tell = (): void => {
      timer = 0;
      last = Date.now();
      const joined = waiting;
      waiting = null;
      if (joined) newest.current(joined);
    };
    const hear: Listener = (change) => {
      waiting = waiting ? join(waiting, change) : change;
      if (!timer) timer = window.setTimeout(tell, Math.max(0, last + everyMs - Date.now()));
    };
    listeners.add(hear);
    return () => {
      listeners.delete(hear);
      window.clearTimeout(timer);
    };
  }, [everyMs]);
}

function join(one: Change, other: Change): Change {
  return {
    changed: [...one.changed, ...other.changed],
    removed: [...one.removed, ...other.removed],
    grown: [...one.grown, ...other.grown],
    sweeps: [...one.sweeps, ...other.sweeps],
  };
}

/** Whether a change is about one of these runs; an empty change means that something may have been missed. */
export function touches(change: Change, ids: readonly string[]): boolean {
  const all = [...change.changed, ...change.removed, ...change.grown.map((grown) => grown.id)];
  return isEmpty(change) || all.some((id) => ids.includes(id));
}

export function isEmpty(change: Change): boolean {
  return change.changed.length + change.removed.length + change.grown.length + change.sweeps.length === 0;
}
