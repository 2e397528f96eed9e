// The filter that the views of many runs share. What is wrong with it stands where one types.
import { signal } from "@preact/signals";
import type { Problem } from "../api/schema";
import { page, update } from "../state/address";
import { SearchField } from "./basic";

/** What the server said about the filter that stands there now; null while it is fine. */
export const filterProblem = signal<Problem | null>(null);
export const filterWarning = signal("");

/** Keep what concerns the filter; return what else there is to show. */
export function noteFilter(problem: Problem | null, warning = ""): Problem | null {
  const mine = problem !== null && (problem.field === "where" || problem.field === null) && problem.position !== null;
  filterProblem.value = mine ? problem : null;
  filterWarning.value = warning;
  return mine ? null : problem;
}

export function FilterField() {
  const problem = filterProblem.value;
  return (
    <div class={problem ? "filter filter-wrong" : "filter"}>
      <SearchField
        id="filter"
        label="Filter runs"
        placeholder="Filter, e.g. params.learning_rate > 0.01 and status == 'completed'"
        value={page.value.where}
        set={(where) => update({ where })}
        pauseMs={250}
      />
      {problem && <Wrong problem={problem} text={page.value.where} />}
      {!problem && filterWarning.value && <div class="filter-note">{filterWarning.value}</div>}
    </div>
  );
}

function Wrong({ problem, text }: { problem: Problem; text: string }) {
  const at = problem.position ?? -1;
  return (
    <div class="filter-note filter-error" role="alert">
      {at >= 0 && at <= text.length && (
        <code>
          {text.slice(Math.max(0, at - 30), at)}
          <mark>{text.slice(at, at + 1) || " "}</mark>
          {text.slice(at + 1, at + 40)}
        </code>
      )}
      <strong>{problem.message}</strong>
      {problem.hint && <span>{problem.hint}</span>}
    </div>
  );
}
