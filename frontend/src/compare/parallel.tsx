// Parallel coordinates: a line for each run through its values; brushing an axis chooses runs.
import { useRef } from "preact/hooks";
import type { Row } from "../api/schema";
import { clip, formatTick } from "../state/format";
import type { Brush, Interval } from "../state/address";
import { rampColor, shares, type Axis } from "./axes";
import { palette, tooltip, useChart, type ChartOption } from "./echarts";

export interface ParallelProps {
  axes: Axis[];
  rows: readonly Row[];
  brushes: readonly Brush[];
  dark: boolean;
  brush: (brushes: Brush[]) => void;
}

interface ParallelView {
  axis: { activeIntervals: Interval[] };
}

const FAINT_FROM = 200;
const MOST_LETTERS = 24;

export function Parallel(props: ParallelProps) {
  const { axes, rows, dark } = props;
  const frame = useRef<HTMLDivElement>(null);
  const newest = useRef(props);
  newest.current = props;
  const last = axes.at(-1);
  const key = JSON.stringify([axes.map((axis) => [axis.column.name, axis.kind, axis.places, axis.categories]), dark]);
  const option = axes.length > 1 && last ? toOption(axes, rows, dark) : null;
  useChart(frame, option, key, (chart) => {
    chart.on("axisareaselected", () => {
      const model = (chart as unknown as { getModel(): { findComponents(query: object): ParallelView["axis"][] } }).getModel();
      const models = model.findComponents({ mainType: "parallelAxis" }) as unknown as { activeIntervals: Interval[] }[];
      newest.current.brush(newest.current.axes.flatMap((axis, at) => toBrush(axis, models[at]?.activeIntervals ?? [])));
    });
  });
  return <div class="parallel" ref={frame} role="img" aria-label={`Parallel coordinates of ${rows.length} runs over ${axes.length} columns`} />;
}

function toBrush(axis: Axis, intervals: Interval[]): Brush[] {
  if (intervals.length === 0) return [];
  const column = axis.column.name;
  if (axis.kind !== "category") return [{ column, ranges: intervals.map(([low, high]) => [low, high]), values: [] }];
  const inside = (at: number): boolean => intervals.some(([low, high]) => low <= at && at <= high);
  const values = axis.literals.filter((literal, at) => literal !== null && inside(at)) as string[];
  return [{ column, ranges: [], values }];
}

function toOption(axes: Axis[], rows: readonly Row[], dark: boolean): ChartOption {
  const { ink, quiet, line, surface } = palette(dark);
  // Lines go through the labels: a halo keeps these readable.
  const label = { color: ink, fontSize: 11, textBorderColor: surface, textBorderWidth: 3 };
  const colors = shares(axes.at(-1)!);
  return {
    animation: false,
    tooltip: tooltip(dark),
    parallel: {
      left: 70,
      right: 90,
      top: 46,
      bottom: 22,
      parallelAxisDefault: {
        nameTextStyle: { color: ink, fontSize: 12 },
        nameTruncate: { maxWidth: 150, ellipsis: "…" },
        axisLine: { lineStyle: { color: line, width: 1 } },
        axisTick: { lineStyle: { color: line } },
        axisLabel: label,
        areaSelectStyle: { width: 22, borderWidth: 1, borderColor: ink, color: dark ? "#7aa8ff" : "#2456c8", opacity: 0.25 },
      },
    },
    parallelAxis: axes.map((axis, dim) => ({
      dim,
      name: clip(axis.column.label, MOST_LETTERS),
      type: axis.kind,
      ...(axis.kind === "category" ? { data: axis.categories, axisLabel: { ...label, formatter: (text: string) => clip(text, MOST_LETTERS) } } : { scale: true, axisLabel: { ...label, formatter: formatTick } }),
    })),
    series: {
      type: "parallel",
      inactiveOpacity: 0.04,
      activeOpacity: 1,
      progressive: 400,
      lineStyle: { width: rows.length > FAINT_FROM ? 1 : 1.6, opacity: rows.length > FAINT_FROM ? 0.45 : 0.85 },
      emphasis: { lineStyle: { width: 3.5, opacity: 1 } },
      data: rows.map((row, at) => ({
        name: row.id ?? "",
        // A run without a value has a gap there.
        value: axes.map((axis) => axis.places[at] ?? "-"),
        lineStyle: { color: colors[at] === null || colors[at] === undefined ? quiet : rampColor(colors[at], dark) },
      })),
    },
    // The library's own types have no axes among the parts that one chooses.
  } as unknown as ChartOption;
}
