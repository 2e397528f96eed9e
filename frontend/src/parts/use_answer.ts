// An answer of the source in a component: asked again when what it depends on changes, kept while a new one is asked.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import type { Problem } from "../api/schema";
import { isAbort, problemOf } from "../api/source";

export interface Answer<T> {
  value: T | null;
  problem: Problem | null;
  loading: boolean;
  /** Ask once more, without taking away what is shown. */
  again: () => void;
}

export function useAnswer<T>(
  ask: ((signal: AbortSignal) => Promise<T>) | null,
  dependencies: readonly unknown[],
  delayMs = 0,
): Answer<T> {
  const [state, setState] = useState<{ value: T | null; problem: Problem | null; loading: boolean }>({
    value: null,
    problem: null,
    loading: ask !== null,
  });
  const [turn, setTurn] = useState(0);
  const busy = useRef(false);
  const askedAgain = useRef(false);
  const newest = useRef(ask);
  newest.current = ask;
  const key = JSON.stringify(dependencies);
  useEffect(() => {
    const question = newest.current;
    if (!question) {
      busy.current = false;
      setState({ value: null, problem: null, loading: false });
      return;
    }
    const abort = new AbortController();
    busy.current = true;
    const finish = (): void => {
      busy.current = false;
      if (askedAgain.current) setTurn((before) => before + 1);
      askedAgain.current = false;
    };
    setState((before) => ({ ...before, loading: true }));
    const start = (): void => {
      question(abort.signal).then(
        (value) => {
          if (abort.signal.aborted) return;
          setState({ value, problem: null, loading: false });
          finish();
        },
        (error: unknown) => {
          if (isAbort(error) || abort.signal.aborted) return;
          setState((before) => ({ ...before, problem: problemOf(error), loading: false }));
          finish();
        },
      );
    };
    const timer = delayMs > 0 ? window.setTimeout(start, delayMs) : 0;
    if (delayMs === 0) start();
    return () => {
      window.clearTimeout(timer);
      abort.abort();
    };
  }, [key, turn, ask === null]);
  const again = useCallback(() => {
    // News may come faster than answers: then the answer on its way is waited for, not thrown away.
    if (busy.current) askedAgain.current = true;
    else setTurn((before) => before + 1);
  }, []);
  return { ...state, again };
}
