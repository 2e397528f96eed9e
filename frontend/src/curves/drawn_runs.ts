// Which runs are looked at in the views of several runs, and what they are called there.
import type { Column, Row } from "../api/schema";
import { source } from "../api/source";
import { quote } from "../api/filter";
import { formatValue } from "../api/values";
import { useAnswer, type Answer } from "../parts/use_answer";
import { page } from "../state/address";
import { shortId } from "../state/format";
import { touches, useChanges } from "../state/live";
import { assignMarks } from "../state/marks";

/** So many of the table are drawn when none is selected. */
export const DRAWN_UNASKED = 10;

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
  const { where, sort, selected } = page.value;
  const names = all?.filter((column) => column.kind === "parameter" && column.varies && column.shown).map((column) => column.name) ?? null;
  const answer = useAnswer(
    names === null ? null : (signal) => ask(where, sort, selected, names, signal),
    [where, sort, selected, names],
  );
  useChanges((change) => {
    const shown = answer.value?.runs.map((run) => run.id) ?? [];
    if (selected.length === 0 || touches(change, shown)) answer.again();
  });
  return answer;
}

async function ask(where: string, sort: string, selected: string[], names: string[], signal: AbortSignal): Promise<DrawnRuns> {
  const columns = ["status", "experiment", "started_at", ...names];
  const query =
    selected.length > 0
      ? { where: `id in [${selected.map((id) => quote(shortId(id))).join(", ")}]`, columns, limit: selected.length * 2 }
      : { where, sort, columns, limit: DRAWN_UNASKED };
  const table = await source().table(query, signal);
  const rows = selected.length > 0 ? selected.flatMap((id) => table.rows.find((row) => row.id === id) ?? []) : table.rows;
  const ids = rows.flatMap((row) => row.id ?? []);
  assignMarks(ids);
  const differing = differingPlaces(table.columns, rows);
  const runs = rows.map((row) => ({ id: row.id!, row, label: labelRun(table.columns, row, differing) }));
  return { runs, columns: table.columns, matching: table.matching, selected: selected.length > 0 };
}

/** Parameters in which these runs differ: what all of them share tells none from the others. */
function differingPlaces(columns: Column[], rows: Row[]): number[] {
  return columns.flatMap((column, at) => {
    const values = new Set(rows.map((row) => JSON.stringify(row.values[at] ?? null)));
    return column.kind === "parameter" && values.size > 1 ? [at] : [];
  });
}

function labelRun(columns: Column[], row: Row, places: number[]): string {
  const parts = places.map((at) => `${columns[at]!.label}=${formatValue(row.values[at], columns[at]!.type)}`);
  return parts.join(" ") || shortId(row.id ?? "");
}
