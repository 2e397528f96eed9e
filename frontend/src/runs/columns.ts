// The columns that there are, asked once for all views, and again when runs may have brought new ones.
import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { Column } from "../api/schema";
import { source } from "../api/source";
import { useChanges } from "../state/live";

const columns = signal<Column[] | null>(null);
const REFRESH_MS = 5000;
let asked: Promise<void> | null = null;

async function read(): Promise<void> {
  const found = await source().columns();
  if (JSON.stringify(found) !== JSON.stringify(columns.value)) columns.value = found;
}

/** All columns; null until they are known. */
export function useColumns(): Column[] | null {
  useEffect(() => {
    // Whoever shows the table is told by its own question when the server does not answer.
    asked ??= read().catch(() => {
      asked = null;
    });
  }, []);
  useChanges(() => void read().catch(() => undefined), REFRESH_MS);
  return columns.value;
}
