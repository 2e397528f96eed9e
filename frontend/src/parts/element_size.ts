// The size of an element, followed.
import type { RefObject } from "preact";
import { useEffect, useState } from "preact/hooks";

export function useSize(element: RefObject<HTMLElement>): { width: number; height: number } {
  const [size, setSize] = useState({ width: 0, height: 0 });
  useEffect(() => {
    if (!element.current) return;
    const observer = new ResizeObserver(([entry]) => {
      if (entry) setSize({ width: Math.floor(entry.contentRect.width), height: Math.floor(entry.contentRect.height) });
    });
    observer.observe(element.current);
    return () => observer.disconnect();
  }, []);
  return size;
}

/** Whether an element is in sight, or nearly. Once seen and left again, it is not any more. */
export function useInSight(element: RefObject<HTMLElement>, margin = "300px"): boolean {
  const [seen, setSeen] = useState(false);
  useEffect(() => {
    if (!element.current) return;
    const observer = new IntersectionObserver(([entry]) => setSeen(entry?.isIntersecting ?? false), { rootMargin: margin });
    observer.observe(element.current);
    return () => observer.disconnect();
  }, []);
  return seen;
}
