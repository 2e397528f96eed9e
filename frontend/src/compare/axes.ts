// Columns as axes: numbers as they are, or by their logarithm, everything else as categories.
import type { Column, Row } from "../api/schema";
import { formatLiteral } from "../api/filter";
import { formatValue, numberOf } from "../api/values";

export interface Axis {
  column: Column;
  kind: "value" | "log" | "category";
  /** What stands at the categories, and how the filter language writes each of them. */
  categories: string[];
  literals: (string | null)[];
  /** The place on the axis of each row: a number, the number of a category, or null where it has none. */
  places: (number | null)[];
}

// Numbers that are far apart and few, such as learning rates, are looked at by their logarithm.
const LOG_SPAN = 20;
// A parameter with so few values is a choice: its values stand in equal steps.
const MOST_CHOICES = 8;

export function makeAxis(column: Column, rows: readonly Row[], at: number, choices: boolean): Axis {
  const values = rows.map((row) => row.values[at] ?? null);
  const numbers = values.map(numberOf);
  const present = values.filter((value) => value !== null);
  const isNumber = present.length > 0 && values.every((value, index) => value === null || numbers[index] !== null);
  const isChoice = choices && column.kind === "parameter" && new Set(numbers).size <= MOST_CHOICES;
  if (isNumber && !isChoice) {
    const finite = numbers.filter((number): number is number => number !== null && Number.isFinite(number));
    const [low, high] = [Math.min(...finite), Math.max(...finite)];
    const kind = column.kind === "parameter" && low > 0 && high / low >= LOG_SPAN ? "log" : "value";
    const places = numbers.map((number) => (number !== null && Number.isFinite(number) ? number : null));
    return { column, kind, categories: [], literals: [], places };
  }
  const byText = new Map<string, unknown>();
  for (const value of values) byText.set(categoryOf(value, column), value);
  const order = (text: string): number => numberOf(byText.get(text)) ?? Infinity;
  const categories = [...byText.keys()].sort((one, other) =>
    isNumber && order(one) !== order(other) ? order(one) - order(other) : one < other ? -1 : 1,
  );
  return {
    column,
    kind: "category",
    categories,
    literals: categories.map((text) => formatLiteral(byText.get(text) ?? null)),
    places: values.map((value) => categories.indexOf(categoryOf(value, column))),
  };
}

function categoryOf(value: unknown, column: Column): string {
  return value === null ? "(none)" : formatValue(value, column.type);
}

/** Blue to yellow in equal steps of lightness, so that the order is seen without its hues. */
const RAMP = {
  light: ["#2c0f5e", "#39488f", "#2f7a9a", "#2ba58a", "#79c552", "#c7b100"],
  dark: ["#5a4fcf", "#4f7fd6", "#46a9c9", "#54cfa4", "#a4e06a", "#f5e663"],
};

export function rampColor(share: number, dark: boolean): string {
  const colors = dark ? RAMP.dark : RAMP.light;
  const at = Math.max(0, Math.min(1, share)) * (colors.length - 1);
  const low = Math.min(colors.length - 2, Math.floor(at));
  return mix(colors[low]!, colors[low + 1]!, at - low);
}

function mix(one: string, other: string, share: number): string {
  const part = (text: string, at: number): number => parseInt(text.slice(at, at + 2), 16);
  const parts = [1, 3, 5].map((at) => Math.round(part(one, at) + (part(other, at) - part(one, at)) * share));
  return `rgb(${parts.join(",")})`;
}

/** The share of each row between the least and the greatest of an axis; null where it has no place. */
export function shares(axis: Axis): (number | null)[] {
  const scale = (value: number): number => (axis.kind === "log" ? Math.log(value) : value);
  const placed = axis.places.filter((place): place is number => place !== null).map(scale);
  const [low, high] = [Math.min(...placed), Math.max(...placed)];
  return axis.places.map((place) => (place === null ? null : high > low ? (scale(place) - low) / (high - low) : 0.5));
}
