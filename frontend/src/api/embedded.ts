// A report file as a source of data: all that it holds, and nothing else.
import type {
  Band,
  BandsAnswer,
  BandsRequest,
  Column,
  Comparison,
  Labels,
  LogWindow,
  Media,
  Patch,
  Report,
  Row,
  RunPage,
  Series,
  SeriesAnswer,
  SeriesRequest,
  Session,
  SweepList,
  SweepPage,
  Table,
  Tag,
} from "./schema";
import type { Brush } from "../state/address";
import { formatLiteral } from "./filter";
import { RequestError, type Source, type TableQuery } from "./source";
import { formatValue, numberOf } from "./values";

export class EmbeddedSource implements Source {
  readonly hasServer = false;

  constructor(private readonly report: Report) {}

  async session(): Promise<Session> {
    const { version, root, title, table, created_at } = this.report;
    return { version, root, name: title, n_runs: table.total, n_running: 0, damaged: [], n_sweeps: 0, pid: 0, now: created_at };
  }

  async columns(): Promise<Column[]> {
    return this.report.columns;
  }

  async table(query: TableQuery): Promise<Table> {
    const { table } = this.report;
    const names = query.columns ?? table.columns.filter((column) => column.shown).map((column) => column.name);
    const places = names.map((name) => table.columns.findIndex((column) => column.name === name)).filter((at) => at >= 0);
    const wanted = new Set(query.runs);
    const chosen = wanted.size > 0 ? table.rows.filter((row) => row.id !== null && wanted.has(row.id)) : table.rows;
    const rows = this.sort(this.brushed(chosen, query.brushes ?? []), query.sort ?? "");
    const offset = query.offset ?? 0;
    return {
      columns: places.map((at) => table.columns[at]!),
      total: table.total,
      matching: rows.length,
      offset,
      rows: rows
        .slice(offset, offset + (query.limit ?? rows.length))
        .map((row) => ({ ...row, values: places.map((at) => row.values[at]) })),
      warning: "",
    };
  }

  private place(name: string): number {
    return this.report.table.columns.findIndex((column) => column.name === name);
  }

  private brushed(rows: Row[], brushes: Brush[]): Row[] {
    return rows.filter((row) =>
      brushes.every((brush) => {
        const value = row.values[this.place(brush.column)];
        const number = numberOf(value);
        return (
          brush.ranges.some(([low, high]) => number !== null && low <= number && number <= high) ||
          brush.values.includes(formatLiteral(value ?? null) ?? "")
        );
      }),
    );
  }

  private sort(rows: Row[], key: string): Row[] {
    const reverse = key.startsWith("-");
    const at = this.place(reverse ? key.slice(1) : key);
    if (at < 0) return rows;
    const sign = reverse ? -1 : 1;
    return [...rows].sort((one, other) => compareValues(one.values[at], other.values[at], sign));
  }

  csvAddress(): null {
    return null;
  }

  async tags(runs: string[]): Promise<Tag[]> {
    const wanted = new Set(runs);
    return this.report.series.flatMap(({ tag, series }) => {
      const n = series.filter((one) => wanted.has(one.run) && one.n_points + one.n_nonfinite > 0).length;
      return n > 0 ? [{ tag, kind: "scalar" as const, n_runs: n }] : [];
    });
  }

  async series(request: SeriesRequest): Promise<SeriesAnswer> {
    const x = request.x ?? "step";
    const kept = x === "step" ? this.report.series : this.report.relative;
    const found = kept.find((answer) => answer.tag === request.tag);
    const byRun = new Map(found?.series.map((series) => [series.run, series]));
    const smoothing = request.smoothing ?? 0;
    const series = request.runs.flatMap((run) => {
      const one = byRun.get(run);
      if (!one) return [];
      const moved = x === "time" ? this.toClock(one) : one;
      return [{ ...moved, smooth: smoothing > 0 ? smooth(moved, smoothing) : null }];
    });
    return { tag: request.tag, x, series };
  }

  /** From the time since the start of a run to the time of day. */
  private toClock(series: Series): Series {
    const started = this.report.runs.find((run) => run.id === series.run)?.started_at ?? 0;
    const move = (x: number): number => x + started;
    return { ...series, x: series.x.map(move), nonfinite: series.nonfinite.map((point) => ({ ...point, x: move(point.x) })) };
  }

  async bands(request: BandsRequest): Promise<BandsAnswer> {
    const { groups, ...window } = request;
    const answer = await this.series({ ...window, runs: groups.flatMap((group) => group.runs) });
    const byRun = new Map(answer.series.map((series) => [series.run, series]));
    const made = groups.map(({ key, runs }) => makeBand(key, runs.flatMap((run) => byRun.get(run) ?? [])));
    return { tag: answer.tag, x: answer.x, groups: made };
  }

  async compare(runs: string[]): Promise<Comparison> {
    const { comparison } = this.report;
    const places = runs.map((run) => comparison.runs.indexOf(run));
    const choose = (section: Comparison["parameters"]): Comparison["parameters"] =>
      section
        .map(({ name, values }) => ({ name, values: places.map((at) => (at < 0 ? null : values[at])) }))
        .filter(({ values }) => new Set(values.map((value) => JSON.stringify(value ?? null))).size > 1);
    return {
      runs,
      parameters: choose(comparison.parameters),
      code: choose(comparison.code),
      packages: choose(comparison.packages),
      metrics: choose(comparison.metrics),
    };
  }

  async run(id: string): Promise<RunPage> {
    const found = this.report.runs.find((run) => run.id === id);
    if (!found) throw missing(`the run ${id}`);
    return found;
  }

  async log(): Promise<LogWindow> {
    throw missing("logs");
  }

  async patch(): Promise<Patch> {
    throw missing("patches");
  }

  async media(): Promise<Media> {
    throw missing("pictures");
  }

  async saveLabels(): Promise<Labels> {
    throw missing("a place for labels");
  }

  async sweeps(): Promise<SweepList> {
    return { sweeps: [] };
  }

  async sweep(name: string): Promise<SweepPage> {
    throw missing(`the sweep ${name}`);
  }

  follow(): void {
    // A file does not change.
  }
}

function missing(what: string): RequestError {
  return new RequestError(404, {
    message: `This report does not hold ${what}.`,
    field: null,
    position: null,
    hint: "`pystematic ui` shows them where the run directories are.",
  });
}

/** Missing values stand last in either direction, as the server puts them. */
function compareValues(one: unknown, other: unknown, sign: number): number {
  const absent = (value: unknown): boolean => value === null || value === undefined || Number.isNaN(numberOf(value) ?? 0);
  if (absent(one) || absent(other)) return Number(absent(one)) - Number(absent(other));
  const [first, second] = [numberOf(one), numberOf(other)];
  if (first !== null && second !== null) return sign * (first < second ? -1 : first > second ? 1 : 0);
  const [text, otherText] = [formatValue(one), formatValue(other)];
  return sign * (text < otherText ? -1 : text > otherText ? 1 : 0);
}

const MOST_STEPS = 400;

/** Mean and deviation over runs: at each x where these are few, else in as many parts of the axis. */
function makeBand(key: string, members: Series[]): Band {
  const all = [...new Set(members.flatMap((series) => series.x))].sort((one, other) => one - other);
  const [low, high] = [all[0] ?? 0, all.at(-1) ?? 0];
  const sampled = all.length > MOST_STEPS || members.some((series) => series.sampled);
  const place = (x: number): number =>
    sampled ? low + (Math.floor(((x - low) / (high - low || 1)) * MOST_STEPS) + 0.5) * ((high - low) / MOST_STEPS) : x;
  const means = new Map<number, number[]>();
  for (const series of members)
    for (const [x, value] of meansAt(series, place)) means.set(x, [...(means.get(x) ?? []), value]);
  const band: Band = { key, n_runs: members.length, sampled, x: [], mean: [], std: [], n: [], min: [], max: [] };
  for (const [x, values] of [...means].sort(([one], [other]) => one - other)) {
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
    band.x.push(x);
    band.mean.push(mean);
    band.std.push(values.length > 1 ? Math.sqrt(squares / (values.length - 1)) : null);
    band.n.push(values.length);
    band.min.push(Math.min(...values));
    band.max.push(Math.max(...values));
  }
  return band;
}

/** The mean of a run's points at each place. */
function meansAt(series: Series, place: (x: number) => number): Map<number, number> {
  const sums = new Map<number, [number, number]>();
  series.x.forEach((x, at) => {
    const [sum, count] = sums.get(place(x)) ?? [0, 0];
    sums.set(place(x), [sum + series.y[at]!, count + 1]);
  });
  return new Map([...sums].map(([x, [sum, count]]) => [x, sum / count]));
}

/** The server's moving average, over the points that the report has. */
function smooth(series: Series, weight: number): { x: number[]; y: number[] } {
  const y: number[] = [];
  let mean = 0;
  let scale = 0;
  for (const value of series.y) {
    mean = mean * weight + value * (1 - weight);
    scale = scale * weight + (1 - weight);
    y.push(mean / scale);
  }
  return { x: series.x, y };
}
