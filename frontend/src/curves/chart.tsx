// One chart of one tag: asks for the lines of the window that is in sight, draws them, reads them under the crosshair.
import { useSignalEffect, signal } from "@preact/signals";
import type { RefObject } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { BandsAnswer, SeriesAnswer } from "../api/schema";
import { source } from "../api/source";
import { Icon, ProblemNote, Swatch } from "../parts/basic";
import { useInSight, useSize } from "../parts/element_size";
import { useAnswer } from "../parts/use_answer";
import { page, update } from "../state/address";
import { exactNumber, formatCount, formatDuration, formatNumber, formatTime } from "../state/format";
import { touches, useChanges } from "../state/live";
import { isDark, markOf } from "../state/marks";
import type { DrawnGroup } from "./groups";
import { LineChart, type Line, type Picture, type Reading } from "./line_chart";

/** The run, or the key of the group, that is pointed at in the list. */
export const highlight = signal("");

const MOST_READ = 12;
const LIVE_MS = 1500;
const HEAD_PX = 34;

export interface ChartProps {
  tag: string;
  runs: readonly { id: string; label: string }[];
  /** Draw the mean and band of these instead of the runs. */
  groups: DrawnGroup[] | null;
  height: number;
  large?: boolean;
}

type Lines = { lines: Line[]; sampled: number; nonfinite: number };

export function Chart(props: ChartProps) {
  const { tag, runs, groups, height, large } = props;
  const root = useRef<HTMLElement>(null);
  const frame = useRef<HTMLDivElement>(null);
  const inSight = useInSight(root);
  const { width } = useSize(frame);
  const { x, logX, logY } = page.value;
  const { answer, kept } = useLines(tag, runs.map((run) => run.id), groups, inSight ? width : 0);
  const labels = new Map(runs.map((run) => [run.id, run.label]));
  const shown = kept && kept.x === x ? toLines(kept, labels) : null;
  const { reading, label } = useDrawing(tag, frame, shown, kept, inSight ? width : 0, Math.max(80, height - HEAD_PX));
  const hidden = shown && (logX || logY) ? countHidden(shown.lines, logX, logY) : 0;
  const empty = shown !== null && shown.lines.every((line) => line.x.length + line.nonfinite.length === 0);
  return (
    <section class={large ? "chart chart-large" : "chart"} ref={root} style={{ height }} data-tag={tag}>
      <ChartHead tag={tag} shown={shown} hidden={hidden} large={large ?? false} />
      <div class={answer.loading ? "chart-frame chart-loading" : "chart-frame"} ref={frame} role="img" aria-label={label || tag}>
        {answer.problem && <ProblemNote problem={answer.problem} again={answer.again} />}
        {empty && <p class="chart-empty">{page.value.zoom ? "No points in this window." : "None of these runs recorded it."}</p>}
        {reading && reading.own && <Readout {...reading} width={width} />}
      </div>
    </section>
  );
}

/** Ask for the lines of the window that is looked at; again when they grow. Nothing is asked while there is no width. */
function useLines(tag: string, ids: string[], groups: DrawnGroup[] | null, width: number) {
  const { x, zoom, smoothing, logX } = page.value;
  // In steps, so that a window that is drawn wider does not ask again for each pixel.
  const buckets = Math.max(100, Math.ceil(width / 100) * 100);
  const ready = width > 0 && ids.length > 0;
  const scale = logX ? ("log" as const) : ("linear" as const);
  const window = { tag, x, from: zoom?.[0] ?? null, to: zoom?.[1] ?? null, buckets, scale };
  const ask = (signal: AbortSignal): Promise<SeriesAnswer | BandsAnswer> =>
    groups ? source().bands({ ...window, groups }, signal) : source().series({ ...window, runs: ids, smoothing }, signal);
  const answer = useAnswer(ready ? ask : null, [window, groups ?? ids, groups ? 0 : smoothing]);
  const kept = useRef<SeriesAnswer | BandsAnswer | null>(null);
  // A chart that was scrolled out of sight still has its lines when it comes back.
  if (answer.value) kept.current = answer.value;
  useChanges((change) => {
    if (ready && touches(change, ids)) answer.again();
  }, LIVE_MS);
  return { answer, kept: kept.current };
}

type Pointed = { readings: Reading[]; left: number; top: number; own: boolean };

/** Keep a canvas in the frame that shows these lines; none while there is no width. */
function useDrawing(
  tag: string,
  frame: RefObject<HTMLDivElement>,
  shown: Lines | null,
  version: unknown,
  width: number,
  height: number,
): { reading: Pointed | null; label: string } {
  const { x, zoom, logX, logY } = page.value;
  const dark = isDark.value;
  const [reading, setReading] = useState<Pointed | null>(null);
  const [label, setLabel] = useState("");
  const chart = useRef<LineChart | null>(null);
  const drawn = useRef<Picture | null>(null);
  const clear = (): void => {
    chart.current?.destroy();
    chart.current = null;
    drawn.current = null;
  };
  useEffect(() => {
    if (!frame.current || !shown || width === 0) return;
    const picture: Picture = { lines: shown.lines, x, logX, logY, zoom, dark, highlight: highlight.peek() };
    if (chart.current && drawn.current && LineChart.fits(drawn.current, picture)) {
      chart.current.show(picture);
    } else {
      clear();
      chart.current = new LineChart(frame.current, picture, width, height, {
        zoom: (range) => update({ zoom: range }),
        read: (readings, left, top, own) => setReading(readings ? { readings, left, top, own } : null),
      });
    }
    drawn.current = picture;
    setLabel(describe(tag, picture, chart.current));
  }, [version, x, logX, logY, zoom, dark, width > 0, shown?.lines.map((line) => line.label).join("\n")]);
  useEffect(() => {
    // Charts out of sight have no canvas: five hundred of them would take gigabytes.
    if (width > 0) chart.current?.resize(width, height);
    else clear();
  }, [width, height]);
  useSignalEffect(() => {
    const id = highlight.value;
    if (chart.current && drawn.current) {
      drawn.current = { ...drawn.current, highlight: id };
      chart.current.show(drawn.current);
    }
  });
  useEffect(() => clear, []);
  return { reading, label };
}

function ChartHead({ tag, shown, hidden, large }: { tag: string; shown: Lines | null; hidden: number; large: boolean }) {
  return (
    <header>
      <h3 title={tag}>{tag}</h3>
      {shown && shown.nonfinite > 0 && (
        <span class="chart-mark odd" title="× NaN at the bottom, arrows for infinities, where they were recorded">
          {formatCount(shown.nonfinite)} not finite
        </span>
      )}
      {hidden > 0 && (
        <span class="chart-mark" title="A logarithmic axis has no place for what is zero or less.">
          {formatCount(hidden)} not on a log axis
        </span>
      )}
      {shown && shown.sampled > 0 && (
        <span
          class="chart-mark"
          title={`Of ${formatCount(shown.sampled)} points, the smallest and the largest of each pixel are drawn. Zoom in to see all.`}
        >
          sampled
        </span>
      )}
      {page.value.zoom && (
        <button type="button" class="plain" title="See all (0)" aria-label={`See all of ${tag}`} onClick={() => update({ zoom: null })}>
          <Icon name="reset" />
        </button>
      )}
      <button
        type="button"
        class="plain"
        aria-label={large ? "Show all charts" : `Show ${tag} large`}
        title={large ? "All charts (Esc)" : "Large"}
        onClick={() => update({ focus: large ? "" : tag })}
      >
        <Icon name={large ? "close" : "expand"} />
      </button>
    </header>
  );
}

function toLines(answer: SeriesAnswer | BandsAnswer, labels: ReadonlyMap<string, string>): Lines {
  if ("series" in answer) {
    const lines = answer.series.map((series): Line => ({
      id: series.run,
      label: labels.get(series.run) ?? series.run,
      mark: markOf(series.run),
      x: series.x,
      y: series.y,
      nonfinite: series.nonfinite,
      ...(series.smooth ? { smooth: series.smooth } : {}),
    }));
    const sampled = answer.series.reduce((sum, series) => sum + (series.sampled ? series.n_points : 0), 0);
    return { lines, sampled, nonfinite: answer.series.reduce((sum, series) => sum + series.n_nonfinite, 0) };
  }
  const lines = answer.groups.map((band): Line => {
    const deviation = (at: number): number => band.std[at] ?? 0;
    return {
      id: band.key,
      label: `${band.key} (${band.n_runs})`,
      mark: markOf(band.key),
      x: band.x,
      y: band.mean,
      low: band.mean.map((mean, at) => mean - deviation(at)),
      high: band.mean.map((mean, at) => mean + deviation(at)),
      nonfinite: [],
    };
  });
  return { lines, sampled: 0, nonfinite: 0 };
}

function countHidden(lines: readonly Line[], logX: boolean, logY: boolean): number {
  const isHidden = (line: Line) => (y: number, at: number): boolean => (logX && line.x[at]! <= 0) || (logY && y <= 0);
  return lines.reduce((sum, line) => sum + line.y.filter(isHidden(line)).length, 0);
}

/** What is seen, for those who can not see it. */
function describe(tag: string, picture: Picture, chart: LineChart): string {
  const { x, y } = chart.ranges();
  const [low, high] = valuesIn(picture, x);
  const place = (value: number): string => formatX(value, picture.x);
  const values = low > high ? "no values" : `values from ${exactNumber(low)} to ${exactNumber(high)}`;
  return `${tag}: ${picture.lines.length} lines, ${picture.x} ${place(x[0])} to ${place(x[1])}, ${values}, axis to ${formatNumber(y[1])}`;
}

function valuesIn(picture: Picture, [from, to]: [number, number]): [number, number] {
  let [low, high] = [Infinity, -Infinity];
  for (const line of picture.lines)
    line.x.forEach((x, at) => {
      const y = line.y[at]!;
      if (x < from || x > to || !Number.isFinite(y)) return;
      low = Math.min(low, y);
      high = Math.max(high, y);
    });
  return [low, high];
}

export function formatX(value: number, x: Picture["x"]): string {
  return x === "time" ? formatTime(value) : x === "relative" ? formatDuration(value) : formatNumber(Number(value.toPrecision(9)));
}

function Readout({ readings, left, top, width }: { readings: Reading[]; left: number; top: number; width: number }) {
  const first = readings[0];
  if (!first) return null;
  const toLeft = left > width / 2;
  const style = toLeft ? { right: width - left + 12, top: Math.max(0, top - 10) } : { left: left + 12, top: Math.max(0, top - 10) };
  return (
    <div class="readout" style={style}>
      <div class="readout-x">{formatX(first.x, page.value.x)}</div>
      <table>
        <tbody>
          {readings.slice(0, MOST_READ).map((reading, at) => (
            <tr key={reading.line.id} class={at === 0 ? "nearest" : ""}>
              <td>
                <Swatch mark={reading.line.mark} />
              </td>
              <td class="readout-label">{reading.line.label}</td>
              <td class="right">{formatNumber(reading.y)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {readings.length > MOST_READ && <div class="quiet">and {readings.length - MOST_READ} more</div>}
    </div>
  );
}
