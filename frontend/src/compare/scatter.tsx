// A point for each run: any two columns, and a third by colour (and by shape where it has categories).
import { useRef } from "preact/hooks";
import type { Row } from "../api/schema";
import { formatValue } from "../api/values";
import { update } from "../state/address";
import { clip, formatTick, shortId } from "../state/format";
import { markOf } from "../state/marks";
import { rampColor, shares, type Axis } from "./axes";
import { palette, tooltip, useChart, type ChartOption } from "./echarts";

const SYMBOLS = { circle: "circle", square: "rect", triangle: "triangle", diamond: "diamond" } as const;
const CATEGORY_SYMBOLS = ["circle", "rect", "triangle", "diamond", "path://M0 0L10 0L5 10Z", "path://M0 0L10 5L0 10L3 5Z"];

export interface ScatterProps {
  x: Axis;
  y: Axis;
  color: Axis | null;
  rows: readonly Row[];
  dark: boolean;
}

export function Scatter(props: ScatterProps) {
  const { x, y, color, rows, dark } = props;
  const frame = useRef<HTMLDivElement>(null);
  const newest = useRef(props);
  newest.current = props;
  const key = JSON.stringify([[x, y, color].map((axis) => axis && [axis.column.name, axis.places, axis.categories]), rows.map((row) => row.id), dark]);
  useChart(frame, toOption(props), key, (chart) => {
    chart.on("click", (event) => {
      const id = newest.current.rows[Number((event.data as { row?: number } | undefined)?.row ?? -1)]?.id;
      if (id) update({ view: "run", item: id, tab: "" });
    });
  });
  const label = `${y.column.label} over ${x.column.label} of ${rows.length} runs${color ? `, coloured by ${color.column.label}` : ""}`;
  return (
    <>
      {color && <ColorLegend axis={color} dark={dark} />}
      <div class="scatter" ref={frame} role="img" aria-label={label} />
    </>
  );
}

const SIGNS = ["●", "■", "▲", "◆", "▼", "➤"];
const MOST_LISTED = 12;
const MOST_LETTERS = 60;

/** What the colours mean: each of a few values with its sign, or the ends of a range. */
function ColorLegend({ axis, dark }: { axis: Axis; dark: boolean }) {
  if (axis.kind === "category") {
    const last = Math.max(1, axis.categories.length - 1);
    return (
      <div class="legend" aria-label={`Colours: ${axis.column.label}`}>
        {axis.column.label}:
        {axis.categories.slice(0, MOST_LISTED).map((text, at) => (
          <span key={text} class="legend-entry">
            <span style={{ color: rampColor(axis.categories.length > 1 ? at / last : 0.5, dark) }} aria-hidden="true">
              {SIGNS[at % SIGNS.length]}
            </span>
            {clip(text, MOST_LETTERS)}
          </span>
        ))}
        {axis.categories.length > MOST_LISTED && <span>and {axis.categories.length - MOST_LISTED} more</span>}
      </div>
    );
  }
  const present = axis.places.filter((place): place is number => place !== null);
  const steps = Array.from({ length: 24 }, (_, at) => at / 23);
  return (
    <div class="legend" aria-label={`Colours: ${axis.column.label}`}>
      {axis.column.label}: {formatValue(Math.min(...present), axis.column.type)}
      <span class="ramp">
        {steps.map((share) => (
          <span key={share} style={{ background: rampColor(share, dark) }} />
        ))}
      </span>
      {formatValue(Math.max(...present), axis.column.type)}
    </div>
  );
}

function toOption({ x, y, color, rows, dark }: ScatterProps): ChartOption {
  const { ink, quiet, line, surface } = palette(dark);
  const colors = color ? shares(color) : null;
  const axis = (of: Axis, vertical: boolean): object => ({
    type: of.kind,
    name: clip(of.column.label, MOST_LETTERS),
    nameLocation: vertical ? "end" : "middle",
    nameGap: vertical ? 14 : 28,
    nameTextStyle: { color: ink, fontSize: 12, align: vertical ? "left" : "center" },
    scale: true,
    data: of.kind === "category" ? of.categories : undefined,
    axisLine: { lineStyle: { color: line } },
    axisLabel: { color: quiet, fontSize: 11, formatter: of.kind === "category" ? (text: string) => clip(text, 24) : formatTick },
    splitLine: { lineStyle: { color: line, opacity: 0.4 } },
  });
  const data = rows.flatMap((row, at) => {
    const [left, top] = [x.places[at], y.places[at]];
    if (left === null || top === null || left === undefined || top === undefined) return [];
    const mark = markOf(row.id ?? "");
    const share = colors?.[at];
    const category = color?.kind === "category" ? (color.places[at] ?? 0) : null;
    const symbol = category === null ? (color ? "circle" : SYMBOLS[mark.shape]) : CATEGORY_SYMBOLS[category % CATEGORY_SYMBOLS.length];
    const fill = !color ? mark.color : share === null || share === undefined ? quiet : rampColor(share, dark);
    return [{ value: [left, top], row: at, symbol, itemStyle: { color: fill, borderColor: surface, borderWidth: 0.5 } }];
  });
  return {
    animation: false,
    grid: { left: 74, right: 24, top: 34, bottom: 46 },
    tooltip: {
      ...tooltip(dark),
      formatter: (event: unknown) => {
        const at = (event as { data: { row: number } }).data.row;
        const lines = [x, y, color].flatMap((of) => (of ? [clip(`${of.column.label}: ${placeText(of, at)}`, MOST_LETTERS)] : []));
        return [shortId(rows[at]?.id ?? ""), ...lines].join("\n");
      },
    },
    xAxis: axis(x, false),
    yAxis: axis(y, true),
    series: { type: "scatter", symbolSize: rows.length > 500 ? 7 : 11, data },
    // The library's own types have no axes among the parts that one chooses.
  } as unknown as ChartOption;
}

function placeText(axis: Axis, at: number): string {
  const place = axis.places[at];
  if (place === null || place === undefined) return "";
  return axis.kind === "category" ? (axis.categories[place] ?? "") : formatValue(place, axis.column.type);
}
