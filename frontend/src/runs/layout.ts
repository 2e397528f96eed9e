// Which columns stand where, and how wide: TanStack's table core keeps order, pins and sizes, the address remembers them.
import {
  createTable,
  getCoreRowModel,
  type ColumnSizingInfoState,
  type Header,
  type Table,
  type TableOptionsResolved,
  type TableState,
} from "@tanstack/table-core";
import { useMemo, useRef, useState } from "preact/hooks";
import type { Column, Row } from "../api/schema";
import { isNumeric } from "../api/values";
import { page, update } from "../state/address";
import { scale } from "../state/scale";

const IDLE: ColumnSizingInfoState = {
  columnSizingStart: [],
  deltaOffset: null,
  deltaPercentage: null,
  isResizingColumn: false,
  startOffset: null,
  startSize: null,
};

export function defaultWidth(column: Column, grouped = false): number {
  return Math.round(widthOf(column, grouped) * scale.value);
}

function widthOf(column: Column, grouped: boolean): number {
  if (column.name === "status" || column.name === "experiment") return 112;
  if (column.type === "duration") return 88;
  if (column.type === "time") return 172;
  if (column.name === "tags") return 150;
  const label = 34 + column.label.length * 7;
  // Of a group a number is a mean and a deviation.
  const least = isNumeric(column.type) ? (grouped && column.kind === "metric" ? 168 : 92) : column.type === "bool" ? 76 : 120;
  return Math.min(200, Math.max(least, label));
}

export function useLayout(columns: Column[], grouped: boolean): Table<Row> {
  const [, redraw] = useState(0);
  // Not a state: the table reads what it has just written while the pointer moves.
  const sizing = useRef(IDLE);
  const { pinned, widths: remembered } = page.value;
  const definitions = useMemo(
    () => columns.map((column) => ({ id: column.name, size: defaultWidth(column, grouped), minSize: 48, maxSize: 900 })),
    [columns.map((column) => column.name).join("\n"), grouped, scale.value],
  );
  const state: Partial<TableState> = {
    columnOrder: columns.map((column) => column.name),
    columnPinning: { left: pinned.filter((name) => columns.some((column) => column.name === name)), right: [] },
    columnSizing: remembered,
    columnSizingInfo: sizing.current,
    columnVisibility: {},
  };
  const options: TableOptionsResolved<Row> = {
    data: [],
    columns: definitions,
    getCoreRowModel: getCoreRowModel(),
    columnResizeMode: "onChange",
    state,
    onStateChange: () => undefined,
    onColumnSizingInfoChange: (change) => {
      sizing.current = typeof change === "function" ? change(sizing.current) : change;
      redraw((before) => before + 1);
    },
    onColumnSizingChange: (change) => {
      const before = page.value.widths;
      update({ widths: typeof change === "function" ? change(before) : change });
    },
    renderFallbackValue: null,
  };
  const table = useRef<Table<Row> | null>(null);
  table.current ??= createTable(options);
  const initial = table.current.initialState;
  table.current.setOptions((before) => ({ ...before, ...options, state: { ...initial, ...state } }));
  return table.current;
}

export type GridHeader = Header<Row, unknown>;

export function move(names: readonly string[], name: string, to: number): string[] {
  const without = names.filter((other) => other !== name);
  without.splice(Math.max(0, Math.min(without.length, to)), 0, name);
  return without;
}
