// Which runs are selected: those whose curves are drawn and which are compared.
import { page, update } from "../state/address";
import { assignMarks } from "../state/marks";

/** More than this many runs in one picture tell nobody anything, and would not fit into an address. */
export const MOST_SELECTED = 200;

export function setSelected(ids: readonly string[]): void {
  const selected = [...new Set(ids)].slice(0, MOST_SELECTED);
  assignMarks(selected);
  update({ selected });
}

export function toggleSelected(ids: readonly string[], on?: boolean): void {
  const before = page.value.selected;
  const isOn = on ?? !ids.every((id) => before.includes(id));
  setSelected(isOn ? [...before, ...ids] : before.filter((id) => !ids.includes(id)));
}
