// How large a letter is, against what the layout was drawn for: screens of 4K have larger ones (see style.css).
import { signal } from "@preact/signals";

const DRAWN_FOR_PX = 13;

export const scale = signal(measure());

function measure(): number {
  return parseFloat(getComputedStyle(document.documentElement).fontSize) / DRAWN_FOR_PX || 1;
}

export function startScale(): void {
  const read = (): void => {
    scale.value = measure();
  };
  window.addEventListener("resize", read);
  read();
}
