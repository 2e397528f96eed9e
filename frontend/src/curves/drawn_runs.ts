// Which runs are looked at in the views of several runs, and what they are called there.
import type { Column, Row } from "../api/schema";
import { source } from "../api/source";
import { formatValue } from "../api/values";
import { useAnswer, type Answer } from "../parts/use_answer";
import { page } from "../state/address";
import { shortId } from "../state/format";
import { touches, useChanges } from "../state/live";
import { assignMarks } from "../state/marks";

/** So many of the table are drawn when none is selected. */
const DRAWN_UNASKED = 10;
/** Of groups, as their lines are fewer. */
const GROUPED_UNASKED = 60;

export interface DrawnRun {
  id: string;
  row: Row;
  label: string;
}

export interface DrawnRuns {
  runs: DrawnRun[];
  columns: Column[];
  matching: number;
  selected: boolean;
}

export function useDrawnRuns(all: Column[] | null): Answer<DrawnRuns> {
  const { where, sort, selected, bands } = page.value;
  const limit = bands ? GROUPED_UNASKED : DRAWN_UNASKED;
  const names = all?.filter((column) => column.kind === "parameter" && column.varies && column.shown).map((column) => column.name) ?? null;
  const answer = useAnswer(
    names === null ? null : (signal) => ask(where, sort, selected, limit, names, signal),
    [where, sort, selected, limit, names],
  );
  useChanges((change) => {
    const shown = answer.value?.runs.map((run) => run.id) ?? [];
    if (selected.length === 0 || touches(change, shown)) answer.again();
  });
  return answer;
}

async function ask(
  where: string,
  sort: string,
  selected: string[],
  limit: number,
  names: string[],
  signal: AbortSignal,
): Promise<DrawnRuns> {
  const columns = ["status", "experiment", "started_at", ...names];
  const query =
    selected.length > 0
      ? { where: "", runs: selected, columns, limit: selected.length }
      : { where, sort, columns, limit };
  const table = await source().table(query, signal);
  const rows = selected.length > 0 ? selected.flatMap((id) => table.rows.find((row) => row.id === id) ?? []) : table.rows;
  const ids = rows.flatMap((row) => row.id ?? []);
  assignMarks(ids);
  const labels = labelRuns(table.columns, rows);
  const runs = rows.map((row, at) => ({ id: row.id!, row, label: labels[at]! }));
  return { runs, columns: table.columns, matching: table.matching, selected: selected.length > 0 };
}

/** Parameters in which these runs differ: what all of them share tells none from the others. */
function differingPlaces(columns: Column[], rows: Row[]): number[] {
  return columns.flatMap((column, at) => {
    const values = new Set(rows.map((row) => JSON.stringify(row.values[at] ?? null)));
    return column.kind === "parameter" && values.size > 1 ? [at] : [];
  });
}

/** Name runs by what differs; by the seed, too, where nothing else tells them apart. */
function labelRuns(columns: Column[], rows: Row[]): string[] {
  const differing = differingPlaces(columns, rows);
  const label = (row: Row, places: number[]): string =>
    places
      .filter((at) => row.values[at] !== null && row.values[at] !== undefined)
      .map((at) => `${columns[at]!.label}=${formatValue(row.values[at], columns[at]!.type)}`)
      .join(" ") || shortId(row.id ?? "");
  const short = rows.map((row) => label(row, differing.filter((at) => !isSeed(columns[at]!))));
  return new Set(short).size === rows.length ? short : rows.map((row) => label(row, differing));
}

export function isSeed(column: Column): boolean {
  return /(^|[._])seed$/.test(column.label);
}
