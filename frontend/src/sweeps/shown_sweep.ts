// The sweep that is looked at, for its chart, which is loaded later.
import { signal } from "@preact/signals";
import type { SweepPage } from "../api/schema";

export const shownSweep = signal<SweepPage | null>(null);
