// The table: as many rows and columns as are in sight, however many there are.
import type { RefObject } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { formatLiteral } from "../api/filter";
import type { Column, Row } from "../api/schema";
import { Icon, Swatch } from "../parts/basic";
import { useSize } from "../parts/element_size";
import { useVirtualRows } from "../parts/use_virtual";
import { addressOf, page, update } from "../state/address";
import { shortId } from "../state/format";
import { useKeys } from "../state/keys";
import { scale } from "../state/scale";
import { Cell, isRight } from "./cell";
import { defaultWidth, move, useLayout, type GridHeader } from "./layout";
import type { RowWindow } from "./row_window";
import { setSelected, toggleSelected } from "./selection";

const ROW = 30;
const HEADER = 34;
const LEAD = 296;
const MARGIN_PX = 300;
// The width of a table that has not been measured yet.
const UNMEASURED_PX = 1600;
const PAGE_ROWS = 20;

export interface GridProps {
  rows: RowWindow;
  columns: Column[];
  edit?: (row: Row) => void;
  grouped: boolean;
  label: string;
}

interface Placed {
  column: Column;
  header: GridHeader;
  left: number;
  width: number;
}

export function Grid({ rows, columns, edit, grouped, label }: GridProps) {
  const scroller = useRef<HTMLDivElement>(null);
  const [rowPx, headerPx, leadPx] = [ROW, HEADER, LEAD].map((size) => Math.round(size * scale.value)) as [number, number, number];
  const virtual = useVirtualRows(scroller, rows.matching, rowPx, headerPx);
  const placement = usePlacement(scroller, columns, grouped, leadPx);
  const first = virtual.items[0]?.index ?? 0;
  const last = virtual.items.at(-1)?.index ?? 0;
  useEffect(() => rows.see(first, last), [first, last, rows.matching, rows.stale]);
  const { active, setActive, choose } = useActiveRow(rows, virtual.scrollTo, edit);
  const names = columns.map((column) => column.name);
  const places = new Map(rows.columns.map((column, at) => [column.name, at]));

  return (
    <div
      class={rows.stale ? "grid grid-stale" : "grid"}
      ref={scroller}
      role="grid"
      tabIndex={0}
      aria-label={label}
      aria-rowcount={rows.matching + 1}
      aria-colcount={columns.length + 1}
      aria-busy={rows.stale}
      onScroll={(event) => placement.scrolled(event.currentTarget.scrollLeft)}
    >
      <div class="grid-head" role="row" aria-rowindex={1} style={{ width: placement.width, height: headerPx }}>
        <div class="grid-lead" role="columnheader" aria-sort={sortOf("id")} style={{ width: leadPx }}>
          <SelectShown rows={rows} window={() => rowsInSight(scroller.current, rowPx, headerPx, rows.matching)} />
          <button type="button" class="plain sort" title="Sort by id" onClick={() => cycleSort("id")}>
            {grouped ? "group" : "run"} {sortSign("id")}
          </button>
        </div>
        {[...placement.pinned, ...placement.others].map((cell) => (
          <HeadCell key={cell.column.name} cell={cell} names={names} pinned={placement.pinned.includes(cell)} />
        ))}
      </div>
      <div class="grid-body" role="rowgroup" style={{ width: placement.width, height: virtual.total }}>
        {virtual.items.map((item) => (
          <GridRow
            key={item.index}
            at={item.index}
            top={item.start}
            height={rowPx}
            leadWidth={leadPx}
            row={rows.row(item.index)}
            active={item.index === active}
            choose={choose}
            activate={() => setActive(item.index)}
            edit={edit}
            pinned={placement.pinned}
            others={placement.others}
            places={places}
          />
        ))}
      </div>
    </div>
  );
}

interface Placement {
  pinned: Placed[];
  /** Of the other columns those that are in sight, or nearly. */
  others: Placed[];
  width: number;
  scrolled: (left: number) => void;
}

function usePlacement(scroller: RefObject<HTMLElement>, columns: Column[], grouped: boolean, leadPx: number): Placement {
  const { width } = useSize(scroller);
  const [scrollLeft, setScrollLeft] = useState(0);
  const layout = useLayout(columns, grouped);
  const byName = new Map(columns.map((column) => [column.name, column]));
  const headers = new Map(layout.getFlatHeaders().map((header) => [header.column.id, header]));
  const place = (ids: string[], from: number): Placed[] => {
    let left = from;
    return ids.flatMap((id) => {
      const column = byName.get(id);
      const header = headers.get(id);
      if (!column || !header) return [];
      const placed = { column, header, left, width: header.column.getSize() };
      left += placed.width;
      return [placed];
    });
  };
  const pinned = place(layout.getLeftLeafColumns().map((column) => column.id), leadPx);
  const edge = endOf(pinned, leadPx);
  const others = place(layout.getCenterLeafColumns().map((column) => column.id), edge);
  const right = scrollLeft + (width || UNMEASURED_PX) + MARGIN_PX;
  const inSight = others.filter((cell) => cell.left + cell.width > scrollLeft - MARGIN_PX && cell.left < right);
  return { pinned, others: inSight, width: endOf(others, edge), scrolled: setScrollLeft };
}

/** The row that the keyboard is at, and what its keys do. */
function useActiveRow(rows: RowWindow, scrollTo: (row: number) => void, edit: ((row: Row) => void) | undefined) {
  const [active, setActive] = useState(-1);
  const anchor = useRef(-1);
  const choose = (at: number, range: boolean): void => {
    const row = rows.row(at);
    if (!row) return;
    if (range && anchor.current >= 0) {
      const [from, to] = [Math.min(anchor.current, at), Math.max(anchor.current, at)];
      const between: string[] = [];
      for (let index = from; index <= to; index++) between.push(...idsOf(rows.row(index)));
      toggleSelected(between, true);
    } else toggleSelected(idsOf(row));
    anchor.current = at;
  };
  const go = (to: number): void => {
    const at = Math.max(0, Math.min(rows.matching - 1, to));
    setActive(at);
    scrollTo(at);
  };
  const withRun = (act: (row: Row, id: string) => void) => (): void => {
    const row = rows.row(active);
    if (row?.id) act(row, row.id);
  };
  useKeys([
    { keys: "j | ArrowDown", help: "Next row", run: () => go(active + 1) },
    { keys: "k | ArrowUp", help: "Row before", run: () => go(active - 1) },
    { keys: "Home", help: "First row", run: () => go(0) },
    { keys: "End", help: "Last row", run: () => go(rows.matching - 1) },
    { keys: "PageDown", help: "A page on", run: () => go(active + PAGE_ROWS) },
    { keys: "PageUp", help: "A page back", run: () => go(active - PAGE_ROWS) },
    { keys: "x | Space", help: "Select the row", run: (event) => choose(active, event.shiftKey) },
    { keys: "Enter | o", help: "Open the run", run: withRun((_, id) => update({ view: "run", item: id, tab: "" })) },
    { keys: "e", help: "Edit tags and note", run: withRun((row) => edit?.(row)) },
    { keys: "Escape", help: "Select nothing", run: () => setSelected([]) },
  ]);
  return { active, setActive, choose };
}

function endOf(cells: Placed[], from: number): number {
  const cell = cells.at(-1);
  return cell ? cell.left + cell.width : from;
}

function idsOf(row: Row | undefined): string[] {
  return row ? (row.members ?? (row.id === null ? [] : [row.id])) : [];
}

/** The runs of a group are those that have its values. */
function openGroup(row: Row, places: ReadonlyMap<string, number>): void {
  const { groupBy, where } = page.value;
  const parts = groupBy.flatMap((name) => {
    const literal = formatLiteral(row.values[places.get(name) ?? -1] ?? null);
    return literal === null ? [] : [literal === "none" ? `${name} is none` : `${name} == ${literal}`];
  });
  update({ groupBy: [], where: (where.trim() === "" ? parts : [`(${where})`, ...parts]).join(" and ") });
}

function sortOf(name: string): "ascending" | "descending" | "none" {
  const { sort } = page.value;
  return sort === name ? "ascending" : sort === `-${name}` ? "descending" : "none";
}

function sortSign(name: string): string {
  return { ascending: "↑", descending: "↓", none: "" }[sortOf(name)];
}

/** Best first for what is known to be better when it is larger; then the other way; then as at first. */
function cycleSort(name: string, descendingFirst = false): void {
  const order = descendingFirst ? [`-${name}`, name, ""] : [name, `-${name}`, ""];
  const at = order.indexOf(page.value.sort);
  update({ sort: order[(at + 1) % order.length]! });
}

/** The first and the last row that can be seen wholly. */
function rowsInSight(scroller: HTMLElement | null, rowPx: number, headerPx: number, count: number): [number, number] {
  if (!scroller) return [0, -1];
  const { scrollTop, clientHeight } = scroller;
  return [Math.ceil(scrollTop / rowPx), Math.min(count, Math.floor((scrollTop + clientHeight - headerPx) / rowPx)) - 1];
}

function SelectShown({ rows, window }: { rows: RowWindow; window: () => [number, number] }) {
  const { selected } = page.value;
  const box = useRef<HTMLInputElement>(null);
  useEffect(() => {
    if (box.current) box.current.indeterminate = selected.length > 0;
  }, [selected.length > 0]);
  const toggle = (): void => {
    if (selected.length > 0) return setSelected([]);
    const ids: string[] = [];
    const [first, last] = window();
    for (let at = first; at <= last; at++) ids.push(...idsOf(rows.row(at)));
    setSelected(ids);
  };
  return (
    <input
      ref={box}
      type="checkbox"
      checked={false}
      aria-label={selected.length > 0 ? "Select nothing" : "Select the rows in sight"}
      title={selected.length > 0 ? "Select nothing" : "Select the rows in sight"}
      onChange={toggle}
    />
  );
}

function HeadCell({ cell, names, pinned }: { cell: Placed; names: string[]; pinned: boolean }) {
  const { column, header, left, width } = cell;
  const [over, setOver] = useState(false);
  const resize = header.getResizeHandler();
  const drop = (event: DragEvent): void => {
    event.preventDefault();
    setOver(false);
    const moved = event.dataTransfer?.getData("text/plain") ?? "";
    if (names.includes(moved) && moved !== column.name) update({ columns: move(names, moved, names.indexOf(column.name)) });
  };
  return (
    <div
      class={`grid-cell ${isRight(column) ? "right" : ""} ${pinned ? "grid-pinned" : ""} ${over ? "grid-drop" : ""}`}
      role="columnheader"
      aria-sort={sortOf(column.name)}
      style={{ left, width }}
      title={column.name}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={drop}
    >
      <button
        type="button"
        class="plain sort"
        draggable
        onDragStart={(event) => event.dataTransfer?.setData("text/plain", column.name)}
        onClick={() => cycleSort(column.name, column.direction === "max" || column.name === "started_at")}
      >
        <span class="sort-label">{column.label}</span>
        <span class="sort-sign">{sortSign(column.name)}</span>
      </button>
      <span
        class={header.column.getIsResizing() ? "resizer resizing" : "resizer"}
        aria-hidden="true"
        onMouseDown={(event) => {
          // Else the browser begins to drag the header's button.
          event.preventDefault();
          resize(event);
        }}
        onTouchStart={resize}
        onDblClick={() => {
          const { [column.name]: _, ...widths } = page.value.widths;
          update({ widths: { ...widths, [column.name]: defaultWidth(column) } });
        }}
      />
    </div>
  );
}

interface RowProps {
  at: number;
  top: number;
  height: number;
  leadWidth: number;
  row: Row | undefined;
  active: boolean;
  choose: (at: number, range: boolean) => void;
  activate: () => void;
  edit: ((row: Row) => void) | undefined;
  pinned: Placed[];
  others: Placed[];
  places: Map<string, number>;
}

function GridRow({ at, top, height, leadWidth, row, active, choose, activate, edit, pinned, others, places }: RowProps) {
  const { selected } = page.value;
  const ids = idsOf(row);
  const isSelected = ids.length > 0 && ids.every((id) => selected.includes(id));
  const style = { transform: `translateY(${top}px)`, height };
  if (!row) return <div class="grid-row" role="row" aria-rowindex={at + 2} style={style} />;
  return (
    <div
      class={`grid-row ${active ? "active" : ""} ${isSelected ? "selected" : ""}`}
      role="row"
      aria-rowindex={at + 2}
      aria-selected={isSelected}
      style={style}
      onClick={activate}
      onDblClick={() => row.id && update({ view: "run", item: row.id, tab: "" })}
    >
      <div class="grid-lead" role="rowheader" style={{ width: leadWidth }}>
        <input
          type="checkbox"
          checked={isSelected}
          aria-label={`Select ${row.id ?? `the group of ${row.n}`}`}
          onClick={(event) => {
            event.preventDefault();
            choose(at, event.shiftKey);
          }}
        />
        {isSelected && row.id ? <Swatch id={row.id} /> : <span class="swatch" />}
        {row.id ? (
          <a href={addressOf({ view: "run", item: row.id, tab: "" })} title={row.id}>
            {shortId(row.id)}
          </a>
        ) : (
          <button type="button" class="plain group-name" title="Show the runs of this group" onClick={() => openGroup(row, places)}>
            {row.n} run{row.n === 1 ? "" : "s"}
          </button>
        )}
        {row.id && edit && (
          <button
            type="button"
            class="plain row-edit"
            aria-label={`Edit tags and note of ${row.id}`}
            title={row.note || "Edit tags and note (e)"}
            onClick={() => edit(row)}
          >
            <Icon name="pencil" />
            {row.note && "•"}
          </button>
        )}
      </div>
      {[...pinned, ...others].map(({ column, left, width }, index) => (
        <div
          key={column.name}
          class={`grid-cell ${isRight(column) ? "right" : ""} ${index < pinned.length ? "grid-pinned" : ""}`}
          role="gridcell"
          style={{ left, width }}
        >
          <Cell column={column} value={row.values[places.get(column.name) ?? -1]} row={row} />
        </div>
      ))}
    </div>
  );
}
