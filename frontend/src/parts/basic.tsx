// Small parts that all views share.
import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Problem } from "../api/schema";
import { isDark, markOf, type Mark } from "../state/marks";

/** Each status has a sign of its own, so that colour is never alone. */
const SIGNS: Record<string, string> = {
  running: "▶",
  completed: "✓",
  failed: "✕",
  interrupted: "‖",
  pruned: "✂",
  lost: "?",
  damaged: "!",
  planned: "○",
  mixed: "◐",
};

export function Status({ status, short }: { status: string; short?: boolean }) {
  return (
    <span class={`status status-${status}`} title={status}>
      <span class="status-sign" aria-hidden="true">
        {SIGNS[status] ?? "·"}
      </span>
      <span class={short ? "unseen" : ""}>{status}</span>
    </span>
  );
}

/** The line and the marker by which a run is known in charts. */
export function Swatch({ id, mark }: { id?: string; mark?: Mark }) {
  isDark.value;
  const { color, dash, shape, hollow } = mark ?? markOf(id ?? "");
  const marker = { fill: hollow ? "var(--surface)" : color, "stroke-width": hollow ? 1.6 : 0 };
  return (
    <svg class="swatch" width="26" height="12" viewBox="0 0 26 12" aria-hidden="true" stroke={color}>
      <line x1="1" y1="6" x2="25" y2="6" stroke-width="2" stroke-dasharray={dash.join(" ")} />
      {shape === "circle" && <circle cx="13" cy="6" r="3.4" {...marker} />}
      {shape === "square" && <rect x="10" y="3" width="6" height="6" {...marker} />}
      {shape === "triangle" && <path d="M13 1.6 L17.2 9.2 L8.8 9.2 Z" {...marker} />}
      {shape === "diamond" && <path d="M13 1.4 L17.6 6 L13 10.6 L8.4 6 Z" {...marker} />}
    </svg>
  );
}

const ICONS = {
  expand: "M9 2h5v5M14 2l-5 5M7 14H2V9M2 14l5-5",
  close: "M3 3l10 10M13 3L3 13",
  reset: "M2 4v8M14 4v8M5 8h6M7 6L5 8l2 2M9 6l2 2-2 2",
  pencil: "M2.5 13.5l.8-3L10.8 3l2.2 2.2-7.5 7.5-3 .8",
} as const;

/** Drawn, not written: not every system's fonts have signs for these. */
export function Icon({ name }: { name: keyof typeof ICONS }) {
  return (
    <svg class="icon" width="14" height="14" viewBox="0 0 16 16" aria-hidden="true">
      <path d={ICONS[name]} fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round" />
    </svg>
  );
}

export function ProblemNote({ problem, again }: { problem: Problem; again?: () => void }) {
  return (
    <div class="note note-problem" role="alert">
      <strong>{problem.message}</strong>
      {problem.hint && <span>{problem.hint}</span>}
      {again && (
        <button type="button" onClick={again}>
          Try again
        </button>
      )}
    </div>
  );
}

export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <h2>{title}</h2>
      {children}
    </div>
  );
}

export function Loading({ what }: { what: string }) {
  return (
    <div class="loading" role="status">
      Loading {what} …
    </div>
  );
}

/** A choice of one of a few, as buttons side by side. */
export function Choice<T extends string>(props: {
  label: string;
  value: T;
  options: readonly (readonly [T, string])[];
  choose: (value: T) => void;
}) {
  return (
    <div class="choice" role="radiogroup" aria-label={props.label}>
      {props.options.map(([value, label]) => (
        <button
          type="button"
          role="radio"
          aria-checked={value === props.value}
          key={value}
          onClick={() => props.choose(value)}
        >
          {label}
        </button>
      ))}
    </div>
  );
}

export function Toggle(props: { label: string; checked: boolean; set: (on: boolean) => void; title?: string }) {
  return (
    <label class="toggle" title={props.title}>
      <input type="checkbox" checked={props.checked} onChange={(event) => props.set(event.currentTarget.checked)} />
      {props.label}
    </label>
  );
}

/** A button that opens a small panel below it; Escape and a click elsewhere close it. */
export function Popover(props: { label: ComponentChildren; name: string; children: (close: () => void) => ComponentChildren }) {
  const [open, setOpen] = useState(false);
  const root = useRef<HTMLDivElement>(null);
  // Before it is painted: the Escape that follows what is seen must find it open.
  useLayoutEffect(() => {
    if (!open) return;
    const outside = (event: Event): void => {
      if (!root.current?.contains(event.target as Node)) setOpen(false);
    };
    const escape = (event: KeyboardEvent): void => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      setOpen(false);
      root.current?.querySelector("button")?.focus();
    };
    document.addEventListener("pointerdown", outside);
    document.addEventListener("keydown", escape, true);
    return () => {
      document.removeEventListener("pointerdown", outside);
      document.removeEventListener("keydown", escape, true);
    };
  }, [open]);
  return (
    <div class="popover" ref={root}>
      <button type="button" aria-expanded={open} aria-label={props.name} onClick={() => setOpen(!open)}>
        {props.label}
      </button>
      {open && (
        <div class="popover-panel" role="dialog" aria-label={props.name}>
          {props.children(() => setOpen(false))}
        </div>
      )}
    </div>
  );
}

/** A dialog of the browser itself, which keeps the focus inside. */
export function Dialog(props: { title: string; close: () => void; children: ComponentChildren; class?: string }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useLayoutEffect(() => {
    dialog.current?.showModal();
  }, []);
  return (
    <dialog
      ref={dialog}
      class={props.class}
      aria-label={props.title}
      onClose={props.close}
      onClick={(event) => event.target === dialog.current && props.close()}
    >
      <header>
        <h2>{props.title}</h2>
        <button type="button" class="plain" aria-label="Close" onClick={props.close}>
          <Icon name="close" />
        </button>
      </header>
      <div class="dialog-body">{props.children}</div>
    </dialog>
  );
}

/** A field that tells its text after a short pause in typing. */
export function SearchField(props: {
  label: string;
  value: string;
  set: (text: string) => void;
  placeholder?: string;
  pauseMs?: number;
  id?: string;
}) {
  const [text, setText] = useState(props.value);
  const timer = useRef(0);
  const sent = useRef(props.value);
  useEffect(() => {
    // Changed from elsewhere, by the browser's back button for one.
    if (props.value !== sent.current) setText(props.value);
    sent.current = props.value;
  }, [props.value]);
  const change = (value: string): void => {
    setText(value);
    window.clearTimeout(timer.current);
    timer.current = window.setTimeout(() => {
      sent.current = value;
      props.set(value);
    }, props.pauseMs ?? 150);
  };
  return (
    <input
      type="search"
      id={props.id}
      spellcheck={false}
      autocomplete="off"
      aria-label={props.label}
      placeholder={props.placeholder ?? props.label}
      value={text}
      onInput={(event) => change(event.currentTarget.value)}
    />
  );
}
