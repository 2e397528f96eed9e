// The frame of the page: where one is, the filter, the views.
import { useEffect, useState } from "preact/hooks";
import { source } from "./api/source";
import { Help } from "./help";
import { lazy } from "./parts/lazy";
import { FilterField } from "./parts/filter_field";
import { RunsView } from "./runs/runs_view";
import { addressOf, page, update, type ViewName } from "./state/address";
import { useKeys } from "./state/keys";
import { connected, session } from "./state/live";
import { assignMarks, isDark } from "./state/marks";
import { nextTheme } from "./state/theme";
import { formatCount } from "./state/format";

const CurvesView = lazy(() => import("./curves/curves_view").then((module) => module.CurvesView));
const CompareView = lazy(() => import("./compare/compare_view").then((module) => module.CompareView));
const RunView = lazy(() => import("./run/run_view").then((module) => module.RunView));
const SweepsView = lazy(() => import("./sweeps/sweeps_view").then((module) => module.SweepsView));

const TABS: [ViewName, string, string][] = [
  ["runs", "Runs", "g r | 1"],
  ["curves", "Curves", "g c | 2"],
  ["compare", "Compare", "g o | 3"],
  ["sweeps", "Sweeps", "g s | 4"],
];

/** A report holds runs, and no sweeps. */
function tabsThere(): typeof TABS {
  return source().hasServer ? TABS : TABS.filter(([name]) => name !== "sweeps");
}

export function Page() {
  const { view } = page.value;
  const [help, setHelp] = useState(false);
  const go = (to: ViewName) => (): void => update({ view: to, item: "", tab: "" });
  useKeys([
    { keys: "?", help: "These keys", run: () => setHelp(true) },
    ...tabsThere().map(([name, label, keys]) => ({ keys, help: label, run: go(name) })),
    { keys: "/", help: "Filter", run: () => document.getElementById("filter")?.focus() },
    { keys: "t", help: "Dark or light", run: nextTheme },
  ]);
  assignMarks(page.value.selected);
  const root = session.value?.root;
  useEffect(() => {
    const name = session.value?.name ?? "";
    document.title = name ? `${name} · pystematic` : "pystematic";
  }, [root]);
  return (
    <>
      <TopBar view={view} showHelp={() => setHelp(true)} />
      <main class={`view view-${view}`}>
        {view === "runs" && <RunsView />}
        {view === "curves" && <CurvesView />}
        {view === "compare" && <CompareView />}
        {view === "run" && <RunView />}
        {view === "sweeps" && <SweepsView />}
      </main>
      {help && <Help close={() => setHelp(false)} />}
    </>
  );
}

function TopBar({ view, showHelp }: { view: ViewName; showHelp: () => void }) {
  const filters = source().hasServer && (view === "runs" || view === "curves" || view === "compare");
  return (
    <header class="top">
      <a class="home" href={addressOf({ view: "runs", item: "", tab: "" })} title={session.value?.root}>
        <svg width="20" height="20" viewBox="0 0 32 32" aria-hidden="true">
          <path d="M4 8c5 0 6 15 12 15S23 12 28 12" fill="none" stroke="currentColor" stroke-width="3.4" stroke-linecap="round" />
          <path d="M4 15c6 0 7 10 13 10s7-5 11-5" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-dasharray="3 4" />
        </svg>
        <span>{session.value?.name || "pystematic"}</span>
      </a>
      <nav aria-label="Views">
        {tabsThere().map(([name, label]) => (
          <a
            key={name}
            href={addressOf({ view: name, item: "", tab: "" })}
            aria-current={name === view || (name === "runs" && view === "run") ? "page" : undefined}
          >
            {label}
          </a>
        ))}
      </nav>
      <div class="top-filter">{filters && <FilterField />}</div>
      <LiveState />
      <button type="button" class="plain" onClick={nextTheme} title="Dark or light (t)" aria-label="Dark or light">
        {isDark.value ? "☾" : "☀"}
      </button>
      <button type="button" class="plain" onClick={showHelp} title="Keys (?)" aria-label="Keys">
        ?
      </button>
    </header>
  );
}

function LiveState() {
  const now = session.value;
  if (!source().hasServer) return <span class="live">report</span>;
  if (connected.value === false)
    return (
      <span class="live live-off" role="status" title="What is shown does not change any more. Is `pystematic ui` still running?">
        ○ not connected
      </span>
    );
  return (
    <span class="live" title={now ? `${formatCount(now.n_runs)} runs in ${now.root}` : ""}>
      {now && now.n_running > 0 ? `● ${now.n_running} running` : "● live"}
    </span>
  );
}
