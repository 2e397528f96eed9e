// The rows of the table that are in sight, of however many there are: pages that are asked for when one scrolls there.
import { useEffect, useRef, useState } from "preact/hooks";
import type { Column, Problem, Row } from "../api/schema";
import { isAbort, problemOf, source, type TableQuery } from "../api/source";

const PAGE_ROWS = 100;

export interface RowWindow {
  columns: Column[];
  total: number;
  matching: number;
  warning: string;
  problem: Problem | null;
  /** Whether rows of an earlier question are shown, as the answer is on its way. */
  stale: boolean;
  loaded: boolean;
  row: (at: number) => Row | undefined;
  /** Say which rows are in sight. */
  see: (first: number, last: number) => void;
  /** Ask again for what is in sight. */
  refresh: () => void;
}

interface Kept {
  key: string;
  columns: Column[];
  total: number;
  matching: number;
  warning: string;
  pages: Map<number, Row[]>;
}

const NOTHING: Kept = { key: "", columns: [], total: 0, matching: 0, warning: "", pages: new Map() };

class Rows {
  kept = NOTHING;
  problem: Problem | null = null;
  private query: TableQuery = { where: "" };
  private key = "";
  private first = 0;
  private last = 0;
  private abort = new AbortController();
  private readonly pending = new Set<number>();
  private missed = false;

  constructor(private readonly redraw: () => void) {}

  get stale(): boolean {
    return this.kept.key !== this.key;
  }

  ask(query: TableQuery, key: string): void {
    this.query = query;
    this.key = key;
    this.abort.abort();
    this.abort = new AbortController();
    this.pending.clear();
    void this.load(this.pageOf(this.first));
  }

  see(first: number, last: number): void {
    this.first = first;
    this.last = last;
    if (this.stale) return;
    for (let page = this.pageOf(first); page <= this.pageOf(Math.min(last, this.kept.matching - 1)); page++)
      if (!this.kept.pages.has(page)) void this.load(page);
  }

  /** Pages out of sight are forgotten: they are asked for when they come back. */
  async refresh(): Promise<void> {
    if (this.pending.size > 0) {
      this.missed = true;
      return;
    }
    const [first, last] = [this.pageOf(this.first), this.pageOf(this.last)];
    for (const page of [...this.kept.pages.keys()]) if (page < first || page > last) this.kept.pages.delete(page);
    for (let page = first; page <= last; page++) await this.load(page);
  }

  stop(): void {
    this.abort.abort();
  }

  private pageOf(row: number): number {
    return Math.floor(Math.max(0, row) / PAGE_ROWS);
  }

  private async load(page: number): Promise<void> {
    if (this.pending.has(page)) return;
    const { key, abort } = this;
    this.pending.add(page);
    try {
      const window = { offset: page * PAGE_ROWS, limit: PAGE_ROWS };
      const table = await source().table({ ...this.query, ...window }, abort.signal);
      if (key !== this.key) return;
      const pages = this.kept.key === key ? this.kept.pages : new Map<number, Row[]>();
      pages.set(page, table.rows);
      const { columns, total, matching, warning } = table;
      this.kept = { key, columns, total, matching, warning, pages };
      this.problem = null;
    } catch (error) {
      if (isAbort(error) || key !== this.key) return;
      this.problem = problemOf(error);
    } finally {
      if (key === this.key) this.pending.delete(page);
    }
    this.redraw();
    if (this.missed && this.pending.size === 0) {
      this.missed = false;
      void this.refresh();
    }
  }
}

export function useRows(query: TableQuery): RowWindow {
  const [, setTurn] = useState(0);
  const rows = useRef<Rows | null>(null);
  rows.current ??= new Rows(() => setTurn((before) => before + 1));
  const held = rows.current;
  const key = JSON.stringify(query);
  useEffect(() => held.ask(query, key), [key]);
  useEffect(() => () => held.stop(), []);
  return {
    ...held.kept,
    problem: held.problem,
    stale: held.stale,
    loaded: held.kept.key !== "",
    row: (at) => held.kept.pages.get(Math.floor(at / PAGE_ROWS))?.[at % PAGE_ROWS],
    see: (first, last) => held.see(first, last),
    refresh: () => void held.refresh(),
  };
}
