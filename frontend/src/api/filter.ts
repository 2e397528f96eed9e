// What was selected and brushed, in the filter language, so that the server chooses the runs.
import type { Brush } from "../state/address";
import { shortId } from "../state/format";

export function joinFilter(where: string, brushes: readonly Brush[], runs: readonly string[] = []): string {
  const parts = brushes.map(formatBrush).filter((text) => text !== "");
  if (runs.length > 0) parts.unshift(`id in [${runs.map((id) => quote(shortId(id))).join(", ")}]`);
  if (where.trim() !== "") parts.unshift(parts.length > 0 ? `(${where})` : where);
  return parts.join(" and ");
}

function formatBrush(brush: Brush): string {
  const parts = brush.ranges.map(([low, high]) => `${number(low)} <= ${brush.column} <= ${number(high)}`);
  const lists = brush.values.filter((literal) => literal.startsWith("["));
  const others = brush.values.filter((literal) => !literal.startsWith("["));
  if (others.length > 0) parts.push(`${brush.column} in [${others.join(", ")}]`);
  // A list can not stand in a list.
  parts.push(...lists.map((literal) => `${brush.column} == ${literal}`));
  return parts.length > 1 ? `(${parts.join(" or ")})` : (parts[0] ?? "");
}

// Enough digits for a pointer, and wide enough that the value under it is inside.
const number = (value: number): string => String(Number(value.toPrecision(9)));

/** A value as the filter language writes it; null where it has no way to. */
export function formatLiteral(value: unknown): string | null {
  if (value === null) return "none";
  if (typeof value === "boolean" || typeof value === "number") return String(value);
  if (typeof value === "string") return quote(value);
  if (Array.isArray(value)) {
    const items = value.map((item) => (Array.isArray(item) ? null : formatLiteral(item)));
    return items.includes(null) ? null : `[${items.join(", ")}]`;
  }
  return null;
}

export function quote(text: string): string {
  const escaped = text
    .replace(/\\/g, "\\\\")
    .replace(/'/g, "\\'")
    .replace(/\n/g, "\\n")
    .replace(/\r/g, "\\r")
    .replace(/\t/g, "\\t");
  return `'${escaped}'`;
}
