// The parts of ECharts that the page uses, and nothing else of it.
import { ParallelChart, ScatterChart, LineChart } from "echarts/charts";
import { GridComponent, ParallelComponent, TooltipComponent } from "echarts/components";
import { init, use, type ComposeOption, type EChartsType } from "echarts/core";
import type { LineSeriesOption, ParallelSeriesOption, ScatterSeriesOption } from "echarts/charts";
import type { GridComponentOption, ParallelComponentOption, TooltipComponentOption } from "echarts/components";
import { CanvasRenderer } from "echarts/renderers";
import type { RefObject } from "preact";
import { useEffect, useRef } from "preact/hooks";

use([ParallelChart, ScatterChart, LineChart, ParallelComponent, GridComponent, TooltipComponent, CanvasRenderer]);

export type ChartOption = ComposeOption<
  | ParallelSeriesOption
  | ScatterSeriesOption
  | LineSeriesOption
  | ParallelComponentOption
  | GridComponentOption
  | TooltipComponentOption
>;

export interface Palette {
  ink: string;
  quiet: string;
  line: string;
  surface: string;
  main: string;
}

export function palette(dark: boolean): Palette {
  return dark
    ? { ink: "#e3e6ec", quiet: "#9aa1ad", line: "#3a404b", surface: "#1b1f27", main: "#7aa8ff" }
    : { ink: "#1c2330", quiet: "#5b6270", line: "#cfd4dc", surface: "#ffffff", main: "#2456c8" };
}

/** Tooltips are drawn on the canvas: as HTML they would need styles that the page's policy forbids, and escaping. */
export function tooltip(dark: boolean): TooltipComponentOption {
  const { ink, surface, line } = palette(dark);
  return {
    renderMode: "richText",
    confine: true,
    backgroundColor: surface,
    borderColor: line,
    textStyle: { color: ink, fontSize: 12, fontFamily: "system-ui, sans-serif" },
  };
}

/** A chart in an element, as large as that. */
export function useChart(
  frame: RefObject<HTMLDivElement>,
  option: ChartOption | null,
  key: string,
  prepare: (chart: EChartsType) => void,
): void {
  const chart = useRef<EChartsType | null>(null);
  useEffect(() => {
    if (!frame.current) return;
    const made = init(frame.current, null, { renderer: "canvas" });
    chart.current = made;
    prepare(made);
    const observer = new ResizeObserver(() => made.resize());
    observer.observe(frame.current);
    return () => {
      observer.disconnect();
      made.dispose();
      chart.current = null;
    };
  }, []);
  useEffect(() => {
    if (option) chart.current?.setOption(option, { notMerge: true });
  }, [key]);
}
