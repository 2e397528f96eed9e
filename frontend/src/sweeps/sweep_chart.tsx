// The objective of the points of a sweep, in the order in which they were asked for, and the best so far.
import { useRef } from "preact/hooks";
import type { SweepPage } from "../api/schema";
import { formatValue, numberOf } from "../api/values";
import { palette, tooltip, useChart, type ChartOption } from "../compare/echarts";
import { formatNumber, formatTick } from "../state/format";
import { isDark } from "../state/marks";
import { shownSweep } from "./shown_sweep";

export function SweepChart() {
  const sweep = shownSweep.value;
  const frame = useRef<HTMLDivElement>(null);
  const dark = isDark.value;
  const points = sweep ? pointsOf(sweep) : [];
  const key = JSON.stringify([points.map((point) => [point.number, point.mean]), dark, sweep?.name]);
  useChart(frame, sweep ? toOption(sweep, points, dark) : null, key, () => undefined);
  return <div class="sweep-chart" ref={frame} role="img" aria-label={`${sweep?.metric ?? ""} of ${points.length} points in their order`} />;
}

interface Plotted {
  number: number;
  mean: number;
  text: string;
}

function pointsOf(sweep: SweepPage): Plotted[] {
  return sweep.points
    .flatMap((point) => {
      const mean = numberOf(point.mean);
      if (mean === null || !Number.isFinite(mean)) return [];
      const values = sweep.parameters.map((name, at) => `${name}: ${formatValue(point.values[at])}`);
      const spread = point.std === null ? "" : ` ± ${formatValue(point.std)}`;
      return [{ number: point.number, mean, text: [`point ${point.number}`, ...values, `${sweep.metric}: ${formatNumber(mean)}${spread}`].join("\n") }];
    })
    .sort((one, other) => one.number - other.number);
}

function toOption(sweep: SweepPage, points: Plotted[], dark: boolean): ChartOption {
  const { ink, quiet, line, main } = palette(dark);
  const least = /:min\b/.test(sweep.metric ?? "");
  let best = least ? Infinity : -Infinity;
  const bests = points.map((point) => {
    best = least ? Math.min(best, point.mean) : Math.max(best, point.mean);
    return [point.number, best];
  });
  const axis = { axisLine: { lineStyle: { color: line } }, axisLabel: { color: quiet, fontSize: 11, formatter: formatTick }, splitLine: { lineStyle: { color: line, opacity: 0.4 } } };
  return {
    animation: false,
    grid: { left: 74, right: 24, top: 34, bottom: 44 },
    tooltip: { ...tooltip(dark), formatter: (event: unknown) => (event as { data: { text?: string } }).data.text ?? "best so far" },
    xAxis: { ...axis, type: "value", name: "point", nameLocation: "middle", nameGap: 26, nameTextStyle: { color: ink }, minInterval: 1, min: (range: { min: number }) => range.min - 0.5, max: (range: { max: number }) => range.max + 0.5, axisLabel: { ...axis.axisLabel, showMinLabel: false, showMaxLabel: false }, splitLine: { show: false } },
    yAxis: { ...axis, type: "value", name: `${sweep.metric ?? ""}   (dashed: best so far)`, nameTextStyle: { color: ink, align: "left" }, scale: true },
    series: [
      { type: "line", step: "end", data: bests, symbol: "none", lineStyle: { color: main, width: 1.5, type: [5, 4] }, tooltip: { show: false } },
      { type: "scatter", symbolSize: 9, itemStyle: { color: main }, data: points.map((point) => ({ value: [point.number, point.mean], text: point.text })) },
    ],
  } as unknown as ChartOption;
}
