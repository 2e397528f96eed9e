// Written by scripts/api_types.py from src/pystematic/web/_schema.py. Change that, not this.

/** A number that JSON has none for. */
export interface Special {
  special: string;
}

/** A number of several runs: mean, sample standard deviation (null of fewer than two), and of how many. */
export interface Spread {
  mean: number | Special | null;
  std: number | Special | null;
  n: number;
}

export type ColumnKind = "field" | "parameter" | "metric";

export type ColumnType = "number" | "text" | "time" | "duration" | "bool" | "list" | "mixed";

export type Statistic = "first" | "last" | "min" | "max" | "mean" | "count" | "min_step" | "max_step";

export type XAxis = "step" | "time" | "relative";

export type Scale = "linear" | "log";

export type TagKind = "scalar" | "image" | "figure" | "histogram" | "text" | "table";

/**
 * What is wrong with a request.
 *
 * ``position`` is the number of the character in the filter or sort key where it goes wrong, null where there is none.
 * ``field`` is which text of the request is meant: ``where``, ``sort``, ``group_by``, ``columns``, …; ``hint`` is what
 * to do, or an empty text.
 */
export interface Problem {
  message: string;
  field: string | null;
  position: number | null;
  hint: string;
}

/** The body of every answer whose status is 400 or more. */
export interface ErrorAnswer {
  error: Problem;
}

/** What the page shows, and who shows it. */
export interface Session {
  version: string;
  root: string;
  name: string;
  n_runs: number;
  n_running: number;
  damaged: string[];
  n_sweeps: number;
  pid: number;
  now: number;
}

/**
 * A column that the table can show.
 *
 * ``name`` is what filters, sort keys, ``group_by`` and ``columns`` take; ``label`` is for people. ``tag`` and
 * ``statistic`` say which metric it is. ``varies`` and ``n_values`` (of distinct values over all runs) are of
 * parameters; a metric's ``n_values`` is null, as it is not counted. ``shown`` says whether the table shows it when
 * nobody has chosen.
 */
export interface Column {
  name: string;
  label: string;
  kind: "field" | "parameter" | "metric";
  type: "number" | "text" | "time" | "duration" | "bool" | "list" | "mixed";
  varies: boolean;
  n_values: number | null;
  shown: boolean;
  tag?: string;
  statistic?: "first" | "last" | "min" | "max" | "mean" | "count" | "min_step" | "max_step";
  direction?: "max" | "min";
}

/**
 * A run, or a group of runs: then ``id`` is null, ``members`` are its runs, and numbers are `Spread`.
 *
 * ``status`` of a group is that of all its runs, or ``mixed``.
 */
export interface Row {
  id: string | null;
  status: string;
  values: unknown[];
  tags: string[];
  note: string;
  n?: number;
  members?: string[];
}

/**
 * A window of the table: ``total`` runs are there, ``matching`` rows fulfil the filter (groups where grouped).
 *
 * ``warning`` names parameters and metrics of the filter that no run has.
 */
export interface Table {
  columns: Column[];
  total: number;
  matching: number;
  offset: number;
  rows: Row[];
  warning: string;
}

/** Some runs. */
export interface RunsRequest {
  runs: string[];
}

/** ``kinds``: only these; scalars alone come at once, others take a look at all that was recorded. */
export interface TagsRequest {
  runs: string[];
  kinds?: ("scalar" | "image" | "figure" | "histogram" | "text" | "table")[];
}

/** Something recorded, and by how many of the runs. */
export interface Tag {
  tag: string;
  kind: "scalar" | "image" | "figure" | "histogram" | "text" | "table";
  n_runs: number;
}

/**
 * Which points of which runs.
 *
 * ``from`` and ``to`` bound x; null and absent mean all. ``buckets`` is the width of the chart in pixels.
 * ``scale`` is that of the x axis. ``smoothing`` in 0..1 adds the exponential moving average.
 */
export interface SeriesRequest {
  runs: string[];
  tag: string;
  x?: "step" | "time" | "relative";
  to?: number | null;
  buckets?: number;
  scale?: "linear" | "log";
  smoothing?: number;
  from?: number | null;
}

/** A point whose value is no finite number. */
export interface NonFinite {
  x: number;
  value: "nan" | "inf" | "-inf";
}

/** Finite points in the order of x. */
export interface Line {
  x: number[];
  y: number[];
}

/**
 * The points of one run in the window, and the nearest one on either side of it.
 *
 * With ``sampled`` they are the smallest and the largest of every bucket, the first and the last point; else all.
 * ``n_points`` counts those in the window, ``n_nonfinite`` those of them that are marked apart (of which not all are
 * listed when there are very many).
 */
export interface Series {
  run: string;
  n_points: number;
  n_nonfinite: number;
  sampled: boolean;
  x: number[];
  y: number[];
  nonfinite: NonFinite[];
  smooth: Line | null;
}

/** In the order of the request; a run that has not recorded the tag has no points. */
export interface SeriesAnswer {
  tag: string;
  x: "step" | "time" | "relative";
  series: Series[];
}

/** Runs that are drawn as one. */
export interface BandGroup {
  key: string;
  runs: string[];
}

/** As `SeriesRequest`, of groups. */
export interface BandsRequest {
  groups: BandGroup[];
  tag: string;
  x?: "step" | "time" | "relative";
  to?: number | null;
  buckets?: number;
  scale?: "linear" | "log";
  from?: number | null;
}

/**
 * Mean, sample standard deviation (null of one run), and number of runs at each x; the extremes of all points.
 *
 * Where the runs have few and equal x, there is an entry for each; else (``sampled``) for each bucket with points, of
 * the means of the runs in it.
 */
export interface Band {
  key: string;
  n_runs: number;
  sampled: boolean;
  x: number[];
  mean: number[];
  std: (number | null)[];
  n: number[];
  min: number[];
  max: number[];
}

/** In the order of the request. */
export interface BandsAnswer {
  tag: string;
  x: "step" | "time" | "relative";
  groups: Band[];
}

/** What differs between runs: ``values`` in the order of the runs, null where one has none. */
export interface Difference {
  name: string;
  values: unknown[];
}

/** All in which the records of runs differ, and nothing else. */
export interface Comparison {
  runs: string[];
  parameters: Difference[];
  code: Difference[];
  packages: Difference[];
  metrics: Difference[];
}

/** A parameter, and where its value came from. */
export interface ParameterValue {
  name: string;
  value: unknown;
  source: string | null;
}

/** The summary of one tag; null where only NaN was recorded. ``ends_in_nan`` where the newest point is NaN. */
export interface Metric {
  tag: string;
  first: number | Special | null;
  last: number | Special | null;
  min: number | Special | null;
  max: number | Special | null;
  mean: number | Special | null;
  count: number;
  min_step: number | Special | null;
  max_step: number | Special | null;
  ends_in_nan?: boolean;
}

/** Why a run has failed. */
export interface RunError {
  type: string;
  message: string;
  traceback: string;
}

/** A file of the run directory; ``url`` is where it can be had, ``inline`` whether the browser may show it. */
export interface FileEntry {
  path: string;
  size_bytes: number;
  changed_at: number;
  url: string;
  inline: boolean;
}

/** A listed checkpoint; ``entry`` is all that the manifest says of it. */
export interface Checkpoint {
  id: string;
  file: string;
  step: unknown;
  size_bytes: number | null;
  best: boolean;
  url: string;
  entry: unknown;
}

/** The log of one process. */
export interface LogFile {
  rank: number;
  size_bytes: number;
}

/** Tags and notes of a run: all tags; the note written later. The ``given`` ones are parameters, and stay. */
export interface RunLabels {
  tags: string[];
  given_tags: string[];
  note: string;
  given_note: string;
}

/** The labels of a run after a change. */
export interface Labels {
  tags: string[];
  given_tags: string[];
  note: string;
  given_note: string;
  id: string;
}

/** All of one run but its log, patch and media. */
export interface RunPage {
  tags: string[];
  given_tags: string[];
  note: string;
  given_note: string;
  id: string;
  run_id: string;
  experiment: string;
  status: string;
  path: string;
  started_at: number | null;
  ended_at: number | null;
  duration: number | null;
  exit_code: number | null;
  host: string | null;
  command: string[];
  parent: string | null;
  sweep: string | null;
  metric: string | null;
  error: RunError | null;
  parameters: ParameterValue[];
  metrics: Metric[];
  dropped: number;
  damaged_lines: number;
  attempts: (Record<string, unknown>)[];
  code: Record<string, unknown>;
  environment: Record<string, unknown>;
  has_patch: boolean;
  patch_size_bytes: number;
  logs: LogFile[];
  checkpoints: Checkpoint[];
  files: FileEntry[];
  files_left_out: number;
  media: Tag[];
}

/** A line of a log, counted from 1; ``cut`` says that it is too long, and only its beginning is here. */
export interface LogLine {
  number: number;
  text: string;
  cut?: boolean;
}

/**
 * Some lines of a log.
 *
 * Asked with ``from`` (a line's number) and ``lines``; without ``from`` the last lines. Asked with ``search`` (and
 * ``after``, a line's number) the next lines that hold the text, in any case; ``next`` is then the ``after`` with
 * which the search goes on, null at the end. ``rank`` chooses the process.
 */
export interface LogWindow {
  size_bytes: number;
  n_lines: number;
  lines: LogLine[];
  next: number | null;
}

/** The uncommitted changes that a run was started with; ``cut`` says that there is more, to be had at ``url``. */
export interface Patch {
  text: string;
  size_bytes: number;
  cut: boolean;
  url: string | null;
}

/** Counts between edges. */
export interface Histogram {
  edges: number[];
  counts: number[];
}

/**
 * Something recorded beside numbers.
 *
 * ``url`` is its file, where it has one. Of an image or figure ``inline`` says that the browser may show it. A text
 * stands in ``text``, a table in ``table`` and a histogram in ``histogram``; ``cut`` says that only a part is here.
 * ``fields`` is what else was recorded of it.
 */
export interface MediaItem {
  kind: "scalar" | "image" | "figure" | "histogram" | "text" | "table" | "artifact" | "dataset";
  tag: string;
  step: number;
  time: number;
  url: string | null;
  inline: boolean;
  size_bytes: number | null;
  cut: boolean;
  text?: string;
  table?: TableData;
  histogram?: Histogram;
  fields: Record<string, unknown>;
}

/** A recorded table. */
export interface TableData {
  columns: string[];
  rows: unknown[][];
}

/**
 * What was recorded under a tag (or all tags), in the order of time; ``n_items`` are there in all.
 *
 * Asked without ``offset``, of many items at most ``limit`` (200) that are spread over all of them.
 */
export interface Media {
  n_items: number;
  items: MediaItem[];
}

/** The tags that the run shall have besides those given at its start, and its note; what is absent stays. */
export interface LabelsRequest {
  tags?: string[];
  note?: string;
}

/** A sweep in the list. ``counts`` are of its runs, by status. */
export interface SweepEntry {
  name: string;
  experiment: string;
  created_at: number | null;
  is_running: boolean;
  metric: string | null;
  n_points: number;
  counts: Record<string, number>;
  best: number | Special | null;
}

/** All sweeps, the newest first. */
export interface SweepList {
  sweeps: SweepEntry[];
}

/** A point with what has come of it over its seeds; ``values`` in the order of the sweep's ``parameters``. */
export interface SweepPoint {
  number: number;
  values: unknown[];
  status: string;
  statuses: string[];
  mean: number | Special | null;
  std: number | Special | null;
  n: number;
  runs: string[];
  log: string;
}

/** A sweep: its points, the best first where it has an objective. ``best`` is a point's number. */
export interface SweepPage {
  name: string;
  experiment: string;
  created_at: number | null;
  is_running: boolean;
  metric: string | null;
  seeds: (number | null)[];
  parameters: string[];
  varying: string[];
  counts: Record<string, number>;
  n_done: number;
  n_runs: number;
  best: number | null;
  command: string[];
  points: SweepPoint[];
}

/** How far a running run's files have come. */
export interface Grown {
  id: string;
  log_bytes: number;
  series_bytes: number;
}

/**
 * The data of an event ``change`` of /api/live: what is new or different, what is gone, which sweeps have changed.
 *
 * The first event of a connection is ``hello`` with an empty one.
 */
export interface Change {
  changed: string[];
  removed: string[];
  grown: Grown[];
  sweeps: string[];
}

/**
 * What a report file holds: answers as the API gives them. ``series`` by tag, x by step, one answer each.
 *
 * ``groups`` is the table grouped by what varies besides the seed, null where nothing is grouped.
 */
export interface Report {
  version: string;
  created_at: number;
  root: string;
  title: string;
  columns: Column[];
  table: Table;
  tags: Tag[];
  series: SeriesAnswer[];
  relative: SeriesAnswer[];
  comparison: Comparison;
  runs: RunPage[];
}
