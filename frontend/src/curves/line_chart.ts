// Lines of many runs over one x axis: uPlot gives axes, zoom and the crosshair, the lines are drawn here.
// Drawn here because runs have x values of their own: joining them into one table would cost more than drawing them.
// Knows nothing of where numbers come from.
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { Interval, XAxis } from "../state/address";
import { formatDuration, formatTick } from "../state/format";
import type { Mark } from "../state/marks";
import { scale } from "../state/scale";

export interface Line {
  id: string;
  label: string;
  mark: Mark;
  x: number[];
  y: number[];
  /** A smoothed line, drawn in front of the raw one; it has x of its own. */
  smooth?: { x: number[]; y: number[] };
  /** The lower and upper edge of a band around y. */
  low?: number[];
  high?: number[];
  /** Where the value was no finite number, and what it was. */
  nonfinite: { x: number; value: string }[];
}

export interface Picture {
  lines: Line[];
  x: XAxis;
  logX: boolean;
  logY: boolean;
  zoom: Interval | null;
  dark: boolean;
  highlight: string;
}

export interface Reading {
  line: Line;
  x: number;
  y: number;
}

export interface ChartEvents {
  zoom: (range: Interval | null) => void;
  /** What lies under the crosshair, nearest line first; null when it has left the chart. */
  read: (readings: Reading[] | null, left: number, top: number, own: boolean) => void;
}

const FONT_PX = 11;
const FONT_FAMILY = 'system-ui, -apple-system, "Segoe UI", sans-serif';
const MIN_DRAG_PX = 4;
// With fewer points than this in sight, each of them has a marker.
const MARKED_POINTS = 24;
// Else they stand this far from each other along the line, for those who do not see its colour.
const MARKER_GAP_PX = 130;
const SYNC_KEY = "curves";

export class LineChart {
  private readonly plot: uPlot;
  private picture: Picture;
  private rangeX: Interval = [0, 1];
  private rangeY: Interval = [0, 1];

  constructor(
    private readonly target: HTMLElement,
    picture: Picture,
    width: number,
    height: number,
    private readonly events: ChartEvents,
  ) {
    this.picture = picture;
    this.measure();
    this.plot = new uPlot(this.options(width, height), this.frame(), target);
    target.addEventListener("dblclick", this.resetZoom);
  }

  /** The axes can not be changed afterwards: whether they are logarithmic, and what x is. */
  static fits(before: Picture, after: Picture): boolean {
    return (
      before.x === after.x && before.logX === after.logX && before.logY === after.logY && before.dark === after.dark
    );
  }

  show(picture: Picture): void {
    this.picture = picture;
    this.measure();
    this.plot.setData(this.frame());
  }

  resize(width: number, height: number): void {
    this.plot.setSize({ width, height });
  }

  /** The ranges of both axes, for those who can not see them. */
  ranges(): { x: Interval; y: Interval } {
    return { x: this.rangeX, y: this.rangeY };
  }

  destroy(): void {
    this.target.removeEventListener("dblclick", this.resetZoom);
    this.plot.destroy();
  }

  private readonly resetZoom = (): void => this.events.zoom(null);

  private frame(): uPlot.AlignedData {
    return [this.rangeX, [null, null]];
  }

  private measure(): void {
    this.rangeX = this.picture.zoom ?? extentOfX(this.picture.lines, this.picture.logX);
    this.rangeY = extentOfY(this.picture.lines, this.rangeX, this.picture.logY);
  }

  private options(width: number, height: number): uPlot.Options {
    const { x, logX, logY, dark } = this.picture;
    const ink = dark ? "#aab0bb" : "#5b6270";
    const grid = { stroke: dark ? "#ffffff14" : "#0000000f", width: 1 };
    const ticks = { stroke: dark ? "#ffffff2e" : "#00000022", width: 1, size: 4 };
    const letters = scale.peek();
    const font = `${FONT_PX * letters}px ${FONT_FAMILY}`;
    const axis = { stroke: ink, font, grid, ticks };
    return {
      width,
      height,
      padding: [10, 14, 0, 0],
      legend: { show: false },
      cursor: {
        sync: { key: SYNC_KEY, scales: ["x", null] },
        drag: { x: true, y: false, setScale: false, dist: MIN_DRAG_PX },
        points: { show: false },
        bind: { dblclick: () => null },
      },
      scales: {
        x: { time: x === "time", distr: logX ? 3 : 1, range: () => this.rangeX },
        y: { distr: logY ? 3 : 1, range: () => this.rangeY },
      },
      axes: [
        { ...axis, size: 30 * letters, space: 64 * letters, ...(x === "time" ? {} : { values: (_, splits) => splits.map(x === "relative" ? durationTick : numberTick) }) },
        { ...axis, size: axisWidth, space: 30, values: (_, splits) => splits.map(numberTick) },
      ],
      series: [{}, { show: true, paths: () => null, points: { show: false } }],
      hooks: {
        draw: [(plot) => this.draw(plot)],
        setSelect: [(plot) => this.select(plot)],
        setCursor: [(plot) => this.read(plot)],
      },
    };
  }

  private select(plot: uPlot): void {
    const { left, width } = plot.select;
    if (width < MIN_DRAG_PX) return;
    const range: Interval = [plot.posToVal(left, "x"), plot.posToVal(left + width, "x")];
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    if (range[1] > range[0]) this.events.zoom(range);
  }

  private read(plot: uPlot): void {
    const { left = -1, top = -1 } = plot.cursor;
    if (left < 0) {
      this.events.read(null, 0, 0, false);
      return;
    }
    const x = plot.posToVal(left, "x");
    // A crosshair that another chart has set has no place on the y axis of this one.
    const own = plot.cursor.event != null;
    const readings = this.picture.lines.flatMap((line) => readLine(line, x, this.rangeX));
    const distance = (reading: Reading): number => Math.abs(plot.valToPos(reading.y, "y") - top);
    if (own) readings.sort((one, other) => distance(one) - distance(other));
    this.events.read(readings, left + plot.bbox.left / devicePixelRatio, top, own);
  }

  private draw(plot: uPlot): void {
    const { ctx, bbox } = plot;
    const { lines, highlight } = this.picture;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    ctx.lineJoin = "round";
    // The highlighted line last, so that it lies on top.
    const ordered = highlight ? [...lines].sort((line) => (line.id === highlight ? 1 : -1)) : lines;
    for (const line of ordered) this.drawLine(plot, line, highlight !== "" && line.id !== highlight);
    ctx.restore();
  }

  private drawLine(plot: uPlot, line: Line, faded: boolean): void {
    const { ctx } = plot;
    const ratio = devicePixelRatio;
    const strong = this.picture.highlight === line.id ? 2.4 : 1.5;
    ctx.strokeStyle = line.mark.color;
    ctx.fillStyle = line.mark.color;
    const alpha = faded ? 0.15 : 1;
    if (line.low && line.high) {
      ctx.globalAlpha = alpha * 0.18;
      ctx.fill(this.band(plot, line.x, line.low, line.high));
    }
    const raw = this.path(plot, line, line.x, line.y);
    ctx.setLineDash(line.mark.dash.map((length) => length * ratio));
    if (line.smooth) {
      ctx.globalAlpha = alpha * 0.28;
      ctx.lineWidth = ratio;
      ctx.setLineDash([]);
      ctx.stroke(raw);
      ctx.globalAlpha = alpha;
      ctx.lineWidth = (strong + 0.3) * ratio;
      ctx.setLineDash(line.mark.dash.map((length) => length * ratio));
      ctx.stroke(this.path(plot, line, line.smooth.x, line.smooth.y));
    } else {
      ctx.globalAlpha = alpha;
      ctx.lineWidth = strong * ratio;
      ctx.stroke(raw);
    }
    ctx.setLineDash([]);
    const { x, y } = line.smooth ?? line;
    this.drawMarkers(plot, line, x, y);
    this.drawNonfinite(plot, line);
    ctx.globalAlpha = 1;
  }

  private path(plot: uPlot, line: Line, xs: number[], ys: number[]): Path2D {
    const path = new Path2D();
    const [first, last] = this.visible(xs);
    let gap = 0;
    let open = false;
    for (let at = first; at <= last; at++) {
      const x = xs[at]!;
      const value = ys[at]!;
      let broken = false;
      while (gap < line.nonfinite.length && line.nonfinite[gap]!.x <= x) {
        broken ||= at > first && line.nonfinite[gap]!.x > xs[at - 1]!;
        gap++;
      }
      if (!this.hasPlace(x, value)) {
        open = false;
        continue;
      }
      const left = plot.valToPos(x, "x", true);
      const top = plot.valToPos(value, "y", true);
      if (open && !broken) path.lineTo(left, top);
      else path.moveTo(left, top);
      open = true;
    }
    return path;
  }

  private band(plot: uPlot, x: number[], low: number[], high: number[]): Path2D {
    const path = new Path2D();
    const [first, last] = this.visible(x);
    const floor = this.picture.logY ? this.rangeY[0] : -Infinity;
    const point = (at: number, value: number): void => {
      if (this.hasPlace(x[at]!, Math.max(value, floor)))
        path.lineTo(plot.valToPos(x[at]!, "x", true), plot.valToPos(Math.max(value, floor), "y", true));
    };
    for (let at = first; at <= last; at++) point(at, low[at]!);
    for (let at = last; at >= first; at--) point(at, high[at]!);
    path.closePath();
    return path;
  }

  /** A logarithmic axis has no place for what is not positive. */
  private hasPlace(x: number, y: number): boolean {
    return Number.isFinite(y) && !(this.picture.logX && x <= 0) && !(this.picture.logY && y <= 0);
  }

  /** The points in sight, and one more on each side, so that lines leave through the edge. */
  private visible(x: number[]): [number, number] {
    return [Math.max(0, lowerBound(x, this.rangeX[0]) - 1), Math.min(x.length - 1, lowerBound(x, this.rangeX[1]) + 1)];
  }

  private drawMarkers(plot: uPlot, line: Line, x: number[], y: number[]): void {
    const [first, last] = this.visible(x);
    const all = last - first < MARKED_POINTS;
    const gap = MARKER_GAP_PX * devicePixelRatio;
    // Markers of lines that lie on each other stand beside each other.
    let next = plot.bbox.left + (phaseOf(line.id) * gap) / 16;
    for (let at = first; at <= last; at++) {
      if (!this.hasPlace(x[at]!, y[at]!)) continue;
      const left = plot.valToPos(x[at]!, "x", true);
      if (!all && at < last && left < next) continue;
      while (left >= next) next += gap;
      marker(plot.ctx, line.mark, left, plot.valToPos(y[at]!, "y", true), this.picture.dark);
    }
  }

  /** NaN is a cross at the bottom, an infinity an arrow at the edge that it is beyond. */
  private drawNonfinite(plot: uPlot, line: Line): void {
    const { ctx, bbox } = plot;
    const size = 4 * devicePixelRatio;
    ctx.lineWidth = 1.5 * devicePixelRatio;
    for (const { x, value } of line.nonfinite) {
      if (x < this.rangeX[0] || x > this.rangeX[1] || (this.picture.logX && x <= 0)) continue;
      const left = plot.valToPos(x, "x", true);
      const top = value === "inf" ? bbox.top + size * 1.5 : bbox.top + bbox.height - size * 1.5;
      ctx.beginPath();
      if (value === "inf" || value === "-inf") {
        const tip = value === "inf" ? -size : size;
        ctx.moveTo(left - size, top - tip / 2);
        ctx.lineTo(left, top + tip);
        ctx.lineTo(left + size, top - tip / 2);
      } else {
        ctx.moveTo(left - size, top - size);
        ctx.lineTo(left + size, top + size);
        ctx.moveTo(left + size, top - size);
        ctx.lineTo(left - size, top + size);
      }
      ctx.stroke();
    }
  }
}

function phaseOf(id: string): number {
  return (id.charCodeAt(id.length - 1) + 3 * id.charCodeAt(id.length - 2)) % 16 || 0;
}

function marker(ctx: CanvasRenderingContext2D, mark: Mark, x: number, y: number, dark: boolean): void {
  const size = 2.8 * devicePixelRatio;
  ctx.beginPath();
  if (mark.shape === "circle") ctx.arc(x, y, size, 0, 2 * Math.PI);
  else if (mark.shape === "square") ctx.rect(x - size, y - size, 2 * size, 2 * size);
  else if (mark.shape === "triangle") {
    ctx.moveTo(x, y - size * 1.3);
    ctx.lineTo(x + size * 1.2, y + size);
    ctx.lineTo(x - size * 1.2, y + size);
  } else {
    ctx.moveTo(x, y - size * 1.4);
    ctx.lineTo(x + size * 1.4, y);
    ctx.lineTo(x, y + size * 1.4);
    ctx.lineTo(x - size * 1.4, y);
  }
  ctx.closePath();
  ctx.fillStyle = mark.hollow ? (dark ? "#1b1f27" : "#ffffff") : mark.color;
  ctx.fill();
  if (!mark.hollow) return;
  ctx.lineWidth = 1.3 * devicePixelRatio;
  ctx.stroke();
}

/** The first place in sorted numbers that is not below a value. */
export function lowerBound(sorted: readonly number[], value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

function readLine(line: Line, at: number, range: Interval): Reading[] {
  const { x, y } = line.smooth ?? line;
  const after = lowerBound(x, at);
  const before = after - 1;
  const near = after >= x.length || (before >= 0 && at - x[before]! < x[after]! - at) ? before : after;
  if (near < 0 || x[near]! < range[0] || x[near]! > range[1]) return [];
  return [{ line, x: x[near]!, y: y[near]! }];
}

export function extentOfX(lines: readonly Line[], log: boolean): Interval {
  let low = Infinity;
  let high = -Infinity;
  for (const line of lines) {
    for (const x of [line.x[log ? lowerBound(line.x, Number.MIN_VALUE) : 0], line.x.at(-1), ...line.nonfinite.map((point) => point.x)]) {
      if (x === undefined || (log && x <= 0)) continue;
      low = Math.min(low, x);
      high = Math.max(high, x);
    }
  }
  return spread(low, high, log, 0.015);
}

/** All that is in sight, bands included: a spike is never cut off. */
export function extentOfY(lines: readonly Line[], range: Interval, log: boolean): Interval {
  let low = Infinity;
  let high = -Infinity;
  for (const line of lines) {
    const first = Math.max(0, lowerBound(line.x, range[0]));
    for (let at = first; at < line.x.length && line.x[at]! <= range[1]; at++) {
      for (const value of line.low && line.high ? [line.y[at]!, line.low[at]!, line.high[at]!] : [line.y[at]!]) {
        if (!Number.isFinite(value) || (log && value <= 0)) continue;
        if (value < low) low = value;
        if (value > high) high = value;
      }
    }
  }
  return spread(low, high, log, 0.05);
}

function spread(low: number, high: number, log: boolean, share: number): Interval {
  if (low > high) return log ? [1, 10] : [0, 1];
  if (log) {
    if (low === high) return [low / 2, high * 2];
    const pad = Math.pow(high / low, share);
    return [low / pad, high * pad];
  }
  if (low === high) {
    const pad = Math.abs(low) * 0.1 || 1;
    return [low - pad, high + pad];
  }
  const pad = (high - low) * share;
  return [low - pad, high + pad];
}

const numberTick = (value: number | null): string => (value == null ? "" : formatTick(value));
const durationTick = (value: number | null): string => (value == null ? "" : formatDuration(value));

function axisWidth(_plot: uPlot, values: string[] | null): number {
  const longest = (values ?? []).reduce((length, value) => Math.max(length, value?.length ?? 0), 0);
  return Math.max(38, 16 + longest * 6.4) * scale.peek();
}
