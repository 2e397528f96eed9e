// Runs that are drawn as one line with a band: those that are equal in what they are grouped by.
import type { Column } from "../api/schema";
import { formatValue } from "../api/values";
import { isSeed, type DrawnRun } from "./drawn_runs";

export interface DrawnGroup {
  key: string;
  runs: string[];
}

/** By the chosen columns; else by all parameters that differ, the seed excepted. */
export function groupRuns(runs: readonly DrawnRun[], columns: readonly Column[], groupBy: readonly string[]): DrawnGroup[] {
  const places = columns.flatMap((column, at) => (isGrouping(column, groupBy) ? [at] : []));
  const groups = new Map<string, string[]>();
  for (const { id, row } of runs) {
    const key = places.map((at) => `${columns[at]!.label}=${formatValue(row.values[at], columns[at]!.type)}`).join(" ") || "all runs";
    groups.set(key, [...(groups.get(key) ?? []), id]);
  }
  return [...groups].map(([key, members]) => ({ key, runs: members }));
}

function isGrouping(column: Column, groupBy: readonly string[]): boolean {
  return groupBy.length > 0
    ? groupBy.includes(column.name)
    : column.kind === "parameter" && !isSeed(column);
}
