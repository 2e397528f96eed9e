// Where the page's data comes from: a server, or the report file that it stands in. The views know only this.
import type {
  BandsAnswer,
  BandsRequest,
  Change,
  Column,
  Comparison,
  Labels,
  LabelsRequest,
  LogWindow,
  Media,
  Patch,
  Problem,
  RunPage,
  SeriesAnswer,
  SeriesRequest,
  Session,
  SweepList,
  SweepPage,
  Table,
  Tag,
} from "./schema";
import type { Brush } from "../state/address";

export interface TableQuery {
  where: string;
  /** Only these runs, besides. */
  runs?: string[];
  /** What was brushed; as strict as the filter. */
  brushes?: Brush[];
  sort?: string;
  groupBy?: string[];
  columns?: string[] | null;
  offset?: number;
  limit?: number;
}

export interface LogQuery {
  rank: number;
  from?: number;
  lines?: number;
  search?: string;
  after?: number;
}

export interface Source {
  /** Whether there is a server: filters, groups, labels, logs and finer data need one. */
  readonly hasServer: boolean;
  session(): Promise<Session>;
  columns(): Promise<Column[]>;
  table(query: TableQuery, signal?: AbortSignal): Promise<Table>;
  csvAddress(query: TableQuery): string | null;
  tags(runs: string[], signal?: AbortSignal): Promise<Tag[]>;
  series(request: SeriesRequest, signal?: AbortSignal): Promise<SeriesAnswer>;
  bands(request: BandsRequest, signal?: AbortSignal): Promise<BandsAnswer>;
  compare(runs: string[], signal?: AbortSignal): Promise<Comparison>;
  run(id: string, signal?: AbortSignal): Promise<RunPage>;
  log(id: string, query: LogQuery, signal?: AbortSignal): Promise<LogWindow>;
  patch(id: string, signal?: AbortSignal): Promise<Patch>;
  media(id: string, tag: string, signal?: AbortSignal): Promise<Media>;
  saveLabels(id: string, labels: LabelsRequest): Promise<Labels>;
  sweeps(signal?: AbortSignal): Promise<SweepList>;
  sweep(name: string, signal?: AbortSignal): Promise<SweepPage>;
  /** Tell what changes, until the page is closed. ``state`` says whether news arrive. */
  follow(change: (change: Change) => void, state: (connected: boolean) => void): void;
}

/** What the server says is wrong with a request. */
export class RequestError extends Error {
  constructor(
    readonly status: number,
    readonly problem: Problem,
  ) {
    super(problem.message);
  }
}

export function problemOf(error: unknown): Problem {
  if (error instanceof RequestError) return error.problem;
  return { message: error instanceof Error ? error.message : String(error), field: null, position: null, hint: "" };
}

export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}

let current: Source | null = null;

export function setSource(source: Source): void {
  current = source;
}

export function source(): Source {
  if (!current) throw new Error("no source of data was set");
  return current;
}
