// Values of tables as text and as numbers, whatever they are.
import type { Column, Special, Spread } from "./schema";
import { exactNumber, formatDuration, formatNumber, formatTime } from "../state/format";

type Kind = Column["type"];

export function isSpecial(value: unknown): value is Special {
  return typeof value === "object" && value !== null && "special" in value;
}

export function isSpread(value: unknown): value is Spread {
  return typeof value === "object" && value !== null && "mean" in value && "n" in value;
}

/** The value as a number to draw or to compare; null where it is none. */
export function numberOf(value: unknown): number | null {
  if (typeof value === "number") return value;
  if (isSpread(value)) return numberOf(value.mean);
  if (isSpecial(value)) {
    const known: Record<string, number> = { nan: NaN, inf: Infinity, "-inf": -Infinity };
    return known[value.special] ?? Number(value.special);
  }
  return null;
}

export function isNumeric(type: Kind): boolean {
  return type === "number" || type === "duration" || type === "time";
}

export function formatValue(value: unknown, type: Kind = "mixed"): string {
  if (value === null || value === undefined) return "";
  if (isSpread(value)) {
    const mean = formatValue(value.mean, type);
    return value.std === null || type === "time" ? mean : `${mean} ± ${formatValue(value.std, type === "duration" ? type : "number")}`;
  }
  const number = numberOf(value);
  if (number !== null) {
    if (type === "time") return formatTime(number);
    if (type === "duration") return formatDuration(number);
    return isSpecial(value) && Number.isFinite(number) ? value.special : formatNumber(number);
  }
  if (typeof value === "string") return value;
  if (typeof value === "boolean") return value ? "true" : "false";
  if (Array.isArray(value) && value.every((item) => typeof item === "string")) return value.join(", ");
  return JSON.stringify(value);
}

/** All of the value, for a tooltip. */
export function exactValue(value: unknown, type: Kind = "mixed"): string {
  if (isSpread(value)) return `mean ${exactValue(value.mean, type)}, std ${exactValue(value.std)}, n ${value.n}`;
  const number = numberOf(value);
  if (number !== null && type !== "time") return isSpecial(value) ? value.special : exactNumber(number);
  return formatValue(value, type);
}
