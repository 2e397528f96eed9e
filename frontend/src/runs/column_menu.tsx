// Choosing, ordering and pinning columns, with the keyboard, too.
import { useState } from "preact/hooks";
import type { Column } from "../api/schema";
import { Popover } from "../parts/basic";
import { page, update } from "../state/address";
import { move } from "./layout";

const KINDS: [Column["kind"], string][] = [
  ["parameter", "Parameters"],
  ["metric", "Metrics"],
  ["field", "Fields"],
];
const MOST_LISTED = 150;

export function ColumnMenu({ all, shown }: { all: Column[]; shown: string[] }) {
  return (
    <Popover label="Columns" name="Columns">
      {() => <ColumnList all={all} shown={shown} />}
    </Popover>
  );
}

function ColumnList({ all, shown }: { all: Column[]; shown: string[] }) {
  const [search, setSearch] = useState("");
  const wanted = search.toLowerCase();
  const fits = (column: Column): boolean => column.label.toLowerCase().includes(wanted) || column.name.toLowerCase().includes(wanted);
  const byName = new Map(all.map((column) => [column.name, column]));
  const known = shown.flatMap((name) => byName.get(name) ?? []);
  return (
    <div class="column-list">
      <input
        type="search"
        aria-label="Find a column"
        placeholder="Find a column"
        value={search}
        onInput={(event) => setSearch(event.currentTarget.value)}
      />
      <div class="column-scroll">
        {known.some(fits) && <h3>Shown</h3>}
        {known.filter(fits).map((column) => (
          <ShownColumn key={column.name} column={column} shown={shown} />
        ))}
        {KINDS.map(([kind, title]) => {
          const found = all.filter((column) => column.kind === kind && !shown.includes(column.name) && fits(column));
          if (found.length === 0) return null;
          return (
            <section key={kind}>
              <h3>{title}</h3>
              {found.slice(0, MOST_LISTED).map((column) => (
                <label key={column.name} class="column-entry" title={column.name}>
                  <input type="checkbox" checked={false} onChange={() => update({ columns: [...shown, column.name] })} />
                  <span>{column.label}</span>
                  {column.kind === "parameter" && !column.varies && <em>same in all</em>}
                </label>
              ))}
              {found.length > MOST_LISTED && <p class="quiet">and {found.length - MOST_LISTED} more: type to find them</p>}
            </section>
          );
        })}
      </div>
      <button type="button" onClick={() => update({ columns: null, pinned: [], widths: {} })}>
        As at first
      </button>
    </div>
  );
}

function ShownColumn({ column, shown }: { column: Column; shown: string[] }) {
  const { pinned } = page.value;
  const at = shown.indexOf(column.name);
  const isPinned = pinned.includes(column.name);
  const shift = (by: number) => (): void => update({ columns: move(shown, column.name, at + by) });
  return (
    <div class="column-entry" title={column.name}>
      <label>
        <input
          type="checkbox"
          checked
          onChange={() => update({ columns: shown.filter((name) => name !== column.name), pinned: pinned.filter((name) => name !== column.name) })}
        />
        <span>{column.label}</span>
      </label>
      <button type="button" class="plain" aria-label={`Move ${column.label} to the left`} disabled={at === 0} onClick={shift(-1)}>
        ↑
      </button>
      <button
        type="button"
        class="plain"
        aria-label={`Move ${column.label} to the right`}
        disabled={at === shown.length - 1}
        onClick={shift(1)}
      >
        ↓
      </button>
      <button
        type="button"
        class="plain"
        aria-pressed={isPinned}
        aria-label={`Pin ${column.label}`}
        title={isPinned ? "Pinned to the left" : "Pin to the left"}
        onClick={() => update({ pinned: isPinned ? pinned.filter((name) => name !== column.name) : [...pinned, column.name] })}
      >
        {isPinned ? "●" : "○"}
      </button>
    </div>
  );
}

export function GroupMenu({ all }: { all: Column[] }) {
  const { groupBy } = page.value;
  const options = all.filter((column) => (column.kind === "parameter" && column.varies) || ["experiment", "status", "sweep", "host"].includes(column.name));
  const label = groupBy.length > 0 ? `Grouped by ${groupBy.map((name) => labelOf(all, name)).join(", ")}` : "Group by";
  const set = (names: string[]): void => update({ groupBy: names });
  return (
    <Popover label={label} name="Group by">
      {() => (
        <div class="column-list">
          <div class="column-scroll">
            {options.length === 0 && <p class="quiet">No parameter varies.</p>}
            {options.map((column) => (
              <label key={column.name} class="column-entry" title={column.name}>
                <input
                  type="checkbox"
                  checked={groupBy.includes(column.name)}
                  onChange={(event) =>
                    set(event.currentTarget.checked ? [...groupBy, column.name] : groupBy.filter((name) => name !== column.name))
                  }
                />
                <span>{column.label}</span>
                {column.n_values !== null && <em>{column.n_values} values</em>}
              </label>
            ))}
          </div>
          <button
            type="button"
            title="Group by all that varies but the seed: runs of one setting become one row"
            onClick={() =>
              set(options.filter((column) => column.kind === "parameter" && !/(^|[._])seed$/.test(column.label)).map((column) => column.name))
            }
          >
            All but the seed
          </button>
          <button type="button" onClick={() => set([])}>
            No groups
          </button>
        </div>
      )}
    </Popover>
  );
}

export function labelOf(all: readonly Column[], name: string): string {
  return all.find((column) => column.name === name)?.label ?? name;
}
