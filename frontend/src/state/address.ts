// The state of the page, and its text in the address bar: whoever opens the address sees the same.
// Knows nothing of runs, nor of how anything is shown.
import { signal } from "@preact/signals";

export type ViewName = "runs" | "curves" | "compare" | "run" | "sweeps";
export type XAxis = "step" | "time" | "relative";
export type Interval = [number, number];
/** What a brush on an axis of the parallel coordinates leaves: numbers between two ends, or some texts. */
export type Brush = { column: string; ranges: Interval[]; values: string[] };

export interface PageState {
  view: ViewName;
  /** The run or the sweep that is looked at, and its tab. */
  item: string;
  tab: string;
  where: string;
  sort: string;
  groupBy: string[];
  /** Shown columns in their order; null for those that the server proposes. */
  columns: string[] | null;
  pinned: string[];
  widths: Record<string, number>;
  selected: string[];
  x: XAxis;
  zoom: Interval | null;
  smoothing: number;
  logX: boolean;
  logY: boolean;
  bands: boolean;
  tagSearch: string;
  /** The tag that is shown large, if any. */
  focus: string;
  size: "small" | "medium" | "large";
  axes: string[] | null;
  brushes: Brush[];
  scatter: [string, string, string];
  search: string;
}

export const DEFAULTS: PageState = {
  view: "runs",
  item: "",
  tab: "",
  where: "",
  sort: "",
  groupBy: [],
  columns: null,
  pinned: [],
  widths: {},
  selected: [],
  x: "step",
  zoom: null,
  smoothing: 0,
  logX: false,
  logY: false,
  bands: false,
  tagSearch: "",
  focus: "",
  size: "medium",
  axes: null,
  brushes: [],
  scatter: ["", "", ""],
  search: "",
};

const VIEWS: readonly ViewName[] = ["runs", "curves", "compare", "run", "sweeps"];

export function formatState(state: PageState): string {
  const path = [state.view, state.item, state.tab].map(encodeURIComponent).join("/").replace(/\/+$/, "");
  const query = new URLSearchParams();
  const put = (name: string, value: string): void => {
    if (value !== "") query.append(name, value);
  };
  put("where", state.where);
  put("sort", state.sort);
  for (const name of state.groupBy) put("group", name);
  if (state.columns !== null) {
    // One empty name says that no column is shown, which is not the same as what the server proposes.
    if (state.columns.length === 0) query.append("column", "");
    for (const name of state.columns) put("column", name);
  }
  for (const name of state.pinned) put("pin", name);
  for (const [name, width] of Object.entries(state.widths)) put("width", `${Math.round(width)}:${name}`);
  for (const id of state.selected) put("run", id);
  if (state.x !== "step") put("x", state.x);
  if (state.zoom) put("zoom", state.zoom.join(","));
  if (state.smoothing > 0) put("smooth", String(state.smoothing));
  if (state.logX) put("logx", "1");
  if (state.logY) put("logy", "1");
  if (state.bands) put("bands", "1");
  put("tags", state.tagSearch);
  put("focus", state.focus);
  if (state.size !== "medium") put("size", state.size);
  for (const name of state.axes ?? []) put("axis", name);
  for (const brush of state.brushes) put("brush", JSON.stringify([brush.column, brush.ranges, brush.values]));
  if (state.scatter.some((name) => name !== "")) put("scatter", JSON.stringify(state.scatter));
  put("search", state.search);
  const text = query.toString();
  return `#/${path}${text ? `?${text}` : ""}`;
}

/** Read an address; whatever in it makes no sense is as if it were not there. */
export function parseState(hash: string): PageState {
  const [path = "", text = ""] = splitOnce(hash.replace(/^#\/?/, ""), "?");
  const [view = "", item = "", tab = ""] = path.split("/").map(decode);
  const query = new URLSearchParams(text);
  const get = (name: string): string => query.get(name) ?? "";
  const x = get("x");
  const size = get("size");
  return {
    view: VIEWS.find((known) => known === view) ?? "runs",
    item,
    tab,
    where: get("where"),
    sort: get("sort"),
    groupBy: query.getAll("group"),
    columns: query.has("column") ? query.getAll("column").filter((name) => name !== "") : null,
    pinned: query.getAll("pin"),
    widths: parseWidths(query.getAll("width")),
    selected: query.getAll("run"),
    x: x === "time" || x === "relative" ? x : "step",
    zoom: parseInterval(get("zoom")),
    smoothing: Math.min(0.999, Math.max(0, Number(get("smooth")) || 0)),
    logX: get("logx") === "1",
    logY: get("logy") === "1",
    bands: get("bands") === "1",
    tagSearch: get("tags"),
    focus: get("focus"),
    size: size === "small" || size === "large" ? size : "medium",
    axes: query.has("axis") ? query.getAll("axis") : null,
    brushes: query.getAll("brush").flatMap(parseBrush),
    scatter: parseScatter(get("scatter")),
    search: get("search"),
  };
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function parseWidths(texts: string[]): Record<string, number> {
  const widths: Record<string, number> = {};
  for (const text of texts) {
    const [width, name] = splitOnce(text, ":");
    if (Number(width) > 0) widths[name] = Number(width);
  }
  return widths;
}

function parseInterval(text: string): Interval | null {
  const [from, to] = text.split(",").map(Number);
  return text !== "" && Number.isFinite(from) && Number.isFinite(to) && from! < to! ? [from!, to!] : null;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function parseBrush(text: string): Brush[] {
  const value = parseJson(text);
  if (!Array.isArray(value) || typeof value[0] !== "string") return [];
  const [column, ranges, values] = value;
  return [
    {
      column,
      ranges: Array.isArray(ranges)
        ? ranges.map((range) => parseInterval(String(range))).filter((range) => range !== null)
        : [],
      values: Array.isArray(values) ? values.map(String) : [],
    },
  ];
}

function parseScatter(text: string): [string, string, string] {
  const value = parseJson(text);
  return Array.isArray(value) ? [String(value[0] ?? ""), String(value[1] ?? ""), String(value[2] ?? "")] : ["", "", ""];
}

export const page = signal<PageState>(parseState(location.hash));

/** Change the state and the address. A step of its own in the browser's history only when the place changes. */
export function update(change: Partial<PageState>): void {
  const before = page.value;
  const next = { ...before, ...change };
  const moved = next.view !== before.view || next.item !== before.item || next.tab !== before.tab;
  const address = formatState(next);
  if (moved) history.pushState(null, "", address);
  else history.replaceState(null, "", address);
  page.value = next;
}

/** The address of another state, for links that can be opened in a tab of their own. */
export function addressOf(change: Partial<PageState>): string {
  return formatState({ ...page.value, ...change });
}

export function followAddressBar(): void {
  const read = (): void => {
    page.value = parseState(location.hash);
  };
  window.addEventListener("popstate", read);
  window.addEventListener("hashchange", read);
}
