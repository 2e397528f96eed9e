// Which rows of a long list are in sight: TanStack's virtualizer, for Preact.
import {
  elementScroll,
  observeElementOffset,
  observeElementRect,
  Virtualizer,
  type VirtualItem,
} from "@tanstack/virtual-core";
import type { RefObject } from "preact";
import { useEffect, useLayoutEffect, useState } from "preact/hooks";

export interface VirtualRows {
  items: VirtualItem[];
  total: number;
  scrollTo: (row: number, align?: "auto" | "start" | "end" | "center") => void;
}

export function useVirtualRows(scroller: RefObject<HTMLElement>, count: number, height: number, paddingStart = 0): VirtualRows {
  const [, setTurn] = useState(0);
  const options = {
    count,
    getScrollElement: () => scroller.current,
    estimateSize: () => height,
    overscan: 12,
    scrollPaddingStart: paddingStart,
    observeElementRect,
    observeElementOffset,
    scrollToFn: elementScroll,
    onChange: () => setTurn((before) => before + 1),
  };
  const [virtualizer] = useState(() => new Virtualizer<HTMLElement, Element>(options));
  virtualizer.setOptions(options);
  useEffect(() => virtualizer._didMount(), []);
  useLayoutEffect(() => virtualizer._willUpdate());
  useEffect(() => virtualizer.measure(), [height]);
  return {
    items: virtualizer.getVirtualItems(),
    total: virtualizer.getTotalSize(),
    scrollTo: (row, align = "auto") => virtualizer.scrollToIndex(row, { align }),
  };
}
