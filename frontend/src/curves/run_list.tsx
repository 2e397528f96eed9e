// The runs (or groups) that are drawn: the legend of all charts. Pointing at one brings it to the front.
import { Icon, Status, Swatch } from "../parts/basic";
import { addressOf, page } from "../state/address";
import { formatCount } from "../state/format";
import { setSelected, toggleSelected } from "../runs/selection";
import { highlight } from "./chart";
import type { DrawnRuns } from "./drawn_runs";
import type { DrawnGroup } from "./groups";

export function RunList({ drawn, groups }: { drawn: DrawnRuns | null; groups: DrawnGroup[] | null }) {
  if (!drawn) return <aside class="run-list" aria-label="Runs" />;
  const { runs, matching, selected } = drawn;
  return (
    <aside class="run-list" aria-label="Runs">
      <header>
        {selected ? (
          <>
            <strong>{runs.length}</strong> selected
            <button type="button" class="plain" onClick={() => setSelected([])}>
              Clear
            </button>
          </>
        ) : (
          <>
            <strong>{runs.length}</strong> of {formatCount(matching)} runs
            {matching > runs.length && <a href={addressOf({ view: "runs", item: "", tab: "" })}>choose</a>}
          </>
        )}
      </header>
      <ul>
        {groups
          ? groups.map((group) => (
              <li key={group.key} {...pointing(group.key)}>
                <Swatch id={group.key} />
                <span class="run-text" title={group.key}>
                  {group.key}
                </span>
                <span class="quiet">{group.runs.length}</span>
              </li>
            ))
          : runs.map(({ id, row, label }) => (
              <li key={id} {...pointing(id)}>
                <Swatch id={id} />
                <a class="run-text" href={addressOf({ view: "run", item: id, tab: "" })} title={`${id}\n${label}`}>
                  <span class="run-label">{label}</span>
                </a>
                <Status status={row.status} short />
                <button
                  type="button"
                  class="plain run-remove"
                  aria-label={`Draw ${id} no more`}
                  title="Draw no more"
                  onClick={() => (page.value.selected.length > 0 ? toggleSelected([id], false) : setSelected(runs.map((run) => run.id).filter((other) => other !== id)))}
                >
                  <Icon name="close" />
                </button>
              </li>
            ))}
      </ul>
    </aside>
  );
}

function pointing(id: string) {
  return {
    onMouseEnter: () => {
      highlight.value = id;
    },
    onMouseLeave: () => {
      highlight.value = "";
    },
  };
}
