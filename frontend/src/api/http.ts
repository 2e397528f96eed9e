// The server of `pystematic ui` as a source of data.
import type {
  BandsAnswer,
  BandsRequest,
  Change,
  Column,
  Comparison,
  ErrorAnswer,
  Labels,
  LabelsRequest,
  LogWindow,
  Media,
  Patch,
  RunPage,
  SeriesAnswer,
  SeriesRequest,
  Session,
  SweepList,
  SweepPage,
  Table,
  Tag,
} from "./schema";
import { RequestError, type LogQuery, type Source, type TableQuery } from "./source";
import { joinFilter } from "./filter";

export class HttpSource implements Source {
  readonly hasServer = true;

  session = (): Promise<Session> => ask("/api/session");
  columns = (): Promise<Column[]> => ask("/api/columns");
  table = (query: TableQuery, signal?: AbortSignal): Promise<Table> => ask(`/api/table?${tableQuery(query)}`, signal);
  csvAddress = (query: TableQuery): string => `/api/table.csv?${tableQuery(query)}`;
  tags = (runs: string[], signal?: AbortSignal): Promise<Tag[]> => send("/api/tags", { runs, kinds: ["scalar"] }, signal);
  series = (request: SeriesRequest, signal?: AbortSignal): Promise<SeriesAnswer> => send("/api/series", request, signal);
  bands = (request: BandsRequest, signal?: AbortSignal): Promise<BandsAnswer> => send("/api/bands", request, signal);
  compare = (runs: string[], signal?: AbortSignal): Promise<Comparison> => send("/api/compare", { runs }, signal);
  run = (id: string, signal?: AbortSignal): Promise<RunPage> => ask(`/api/runs/${part(id)}`, signal);
  patch = (id: string, signal?: AbortSignal): Promise<Patch> => ask(`/api/runs/${part(id)}/patch`, signal);
  sweeps = (signal?: AbortSignal): Promise<SweepList> => ask("/api/sweeps", signal);
  sweep = (name: string, signal?: AbortSignal): Promise<SweepPage> => ask(`/api/sweeps/${part(name)}`, signal);

  log(id: string, query: LogQuery, signal?: AbortSignal): Promise<LogWindow> {
    const text = new URLSearchParams(
      Object.entries(query).flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value)]])),
    );
    return ask(`/api/runs/${part(id)}/log?${text}`, signal);
  }

  media(id: string, tag: string, signal?: AbortSignal): Promise<Media> {
    return ask(`/api/runs/${part(id)}/media${tag ? `?tag=${part(tag)}` : ""}`, signal);
  }

  saveLabels(id: string, labels: LabelsRequest): Promise<Labels> {
    return send(`/api/runs/${part(id)}/labels`, labels);
  }

  follow(change: (change: Change) => void, state: (connected: boolean) => void): void {
    // The browser connects again by itself; each `hello` may have missed something.
    const events = new EventSource("/api/live");
    let greeted = false;
    events.addEventListener("hello", () => {
      state(true);
      if (greeted) change({ changed: [], removed: [], grown: [], sweeps: [] });
      greeted = true;
    });
    events.addEventListener("change", (event) => change(JSON.parse(event.data as string) as Change));
    events.addEventListener("error", () => state(false));
    window.addEventListener("pagehide", () => events.close());
  }
}

const part = encodeURIComponent;

function tableQuery(query: TableQuery): string {
  const text = new URLSearchParams();
  const where = joinFilter(query.where, query.brushes ?? [], query.runs ?? []);
  if (where) text.set("where", where);
  if (query.sort) text.set("sort", query.sort);
  for (const name of query.groupBy ?? []) text.append("group_by", name);
  for (const name of query.columns ?? []) text.append("columns", name);
  if (query.offset) text.set("offset", String(query.offset));
  if (query.limit !== undefined) text.set("limit", String(query.limit));
  return text.toString();
}

async function ask<T>(address: string, signal?: AbortSignal): Promise<T> {
  return read<T>(await reach(address, { signal: signal ?? null }));
}

async function send<T>(address: string, body: object, signal?: AbortSignal): Promise<T> {
  const headers = { "Content-Type": "application/json" };
  return read<T>(await reach(address, { method: "POST", headers, body: JSON.stringify(body), signal: signal ?? null }));
}

async function reach(address: string, options: RequestInit): Promise<Response> {
  try {
    return await fetch(address, options);
  } catch (error) {
    if (error instanceof DOMException) throw error;
    throw new RequestError(0, {
      message: "The server does not answer.",
      field: null,
      position: null,
      hint: "Is `pystematic ui` still running in its terminal? Start it again and open the address that it prints.",
    });
  }
}

async function read<T>(response: Response): Promise<T> {
  if (response.ok) return (await response.json()) as T;
  let problem = { message: `The server answered ${response.status}.`, field: null, position: null, hint: "" } as ErrorAnswer["error"];
  try {
    problem = ((await response.json()) as ErrorAnswer).error ?? problem;
  } catch {
    // Not one of our answers: its status is all that is known.
  }
  throw new RequestError(response.status, problem);
}
