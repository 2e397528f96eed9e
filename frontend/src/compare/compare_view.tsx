// Many runs side by side: parallel coordinates over a table that they filter, a scatter plot, and what differs.
import { useMemo } from "preact/hooks";
import type { Column, Table } from "../api/schema";
import { source, type TableQuery } from "../api/source";
import { joinFilter } from "../api/filter";
import { Choice, Empty, Loading, Popover, ProblemNote } from "../parts/basic";
import { noteFilter } from "../parts/filter_field";
import { useAnswer } from "../parts/use_answer";
import { page, update } from "../state/address";
import { formatCount } from "../state/format";
import { useChanges } from "../state/live";
import { assignMarks, isDark } from "../state/marks";
import { useColumns } from "../runs/columns";
import { Grid } from "../runs/grid";
import { useRows } from "../runs/row_window";
import { shownColumns } from "../runs/runs_view";
import { makeAxis, type Axis } from "./axes";
import { Differences } from "./differences";
import { Parallel } from "./parallel";
import { Scatter } from "./scatter";

/** More lines than this are a grey area. */
const MOST_LINES = 2000;
const MOST_AXES = 12;
const LIVE_MS = 3000;
type Within = Pick<TableQuery, "where" | "runs">;
type Tab = "parallel" | "scatter" | "differences";

export function CompareView() {
  const all = useColumns();
  const { tab, selected, where } = page.value;
  // Of the runs that are selected; of all that the filter leaves when none is.
  const within: Within = selected.length > 0 ? { where: "", runs: selected } : { where };
  const shown: Tab = tab === "scatter" || tab === "differences" ? tab : "parallel";
  if (!all) return <Loading what="columns" />;
  return (
    <>
      <div class="toolbar">
        <Choice<Tab>
          label="Comparison"
          value={shown}
          options={[
            ["parallel", "Parallel coordinates"],
            ["scatter", "Scatter"],
            ["differences", "What differs"],
          ]}
          choose={(value) => update({ tab: value === "parallel" ? "" : value })}
        />
        <span class="counts">{selected.length > 0 ? `${selected.length} selected runs` : "all runs of the filter"}</span>
        {selected.length > 0 && (
          <button type="button" class="plain" onClick={() => update({ selected: [] })}>
            Clear
          </button>
        )}
        <span class="grow" />
        {shown === "parallel" && <AxisMenu all={all} />}
        {shown === "scatter" && <ScatterMenus all={all} />}
      </div>
      {shown === "parallel" && <ParallelTab all={all} within={within} />}
      {shown === "scatter" && <ScatterTab all={all} within={within} />}
      {shown === "differences" && <DifferencesTab within={within} />}
    </>
  );
}

function proposedAxes(all: Column[]): string[] {
  const parameters = all.filter((column) => column.kind === "parameter" && column.varies && column.shown);
  return [...parameters, ...proposedMetrics(all)].slice(0, MOST_AXES).map((column) => column.name);
}

/** What the experiment says is good, if it says so; else the metrics that the table shows. */
function proposedMetrics(all: Column[]): Column[] {
  const declared = all.filter((column) => column.direction !== undefined);
  return declared.length > 0 ? declared : all.filter((column) => column.kind === "metric" && column.shown).slice(-3);
}

function useValues(within: Within, names: string[]) {
  const { sort } = page.value;
  const query = { ...within, sort, columns: names, limit: MOST_LINES };
  const answer = useAnswer<Table>(names.length > 0 ? (signal) => source().table(query, signal) : null, [query]);
  useChanges(() => answer.again(), LIVE_MS);
  return answer;
}

function axesOf(table: Table | null, names: string[], isChoice: (name: string) => boolean): Map<string, Axis> {
  const axes = new Map<string, Axis>();
  for (const name of names) {
    const at = table?.columns.findIndex((column) => column.name === name) ?? -1;
    if (table && at >= 0) axes.set(name, makeAxis(table.columns[at]!, table.rows, at, isChoice(name)));
  }
  return axes;
}

function ParallelTab({ all, within }: { all: Column[]; within: Within }) {
  const { brushes, sort, columns: chosen } = page.value;
  const names = page.value.axes ?? proposedAxes(all);
  const answer = useValues(within, names);
  const axes = useMemo(() => [...axesOf(answer.value, names, () => true).values()], [answer.value, names.join("\n")]);
  const rows = useRows({ ...within, brushes, sort, columns: chosen });
  useChanges(() => rows.refresh());
  const problem = noteFilter(answer.problem ?? rows.problem, rows.warning);
  const columns = shownColumns(rows, all, chosen);
  const total = answer.value?.matching ?? 0;
  return (
    <div class="compare">
      {problem && <ProblemNote problem={problem} again={answer.again} />}
      {!answer.value && !answer.problem && names.length > 0 && <Loading what="values" />}
      {answer.value && axes.length < 2 && (
        <Empty title="Parallel coordinates need two columns that vary.">Choose them with “Axes”.</Empty>
      )}
      {axes.length >= 2 && answer.value && (
        <Parallel axes={axes} rows={answer.value.rows} brushes={brushes} dark={isDark.value} brush={(value) => update({ brushes: value })} />
      )}
      <div class="compare-note" role="status">
        {brushes.length > 0 ? (
          <>
            <strong>{formatCount(rows.matching)}</strong> of {formatCount(total)} runs are inside the brush.
            {source().hasServer && (
              <button type="button" onClick={() => update({ where: joinFilter(page.value.where, brushes), brushes: [] })}>
                Keep as filter
              </button>
            )}
            <button type="button" class="plain" onClick={() => update({ brushes: [] })}>
              Clear the brush
            </button>
          </>
        ) : (
          <span class="quiet">
            Drag along an axis to choose runs. The colour is the last axis.
            {total > MOST_LINES && ` The first ${formatCount(MOST_LINES)} of ${formatCount(total)} runs are drawn.`}
          </span>
        )}
      </div>
      {rows.loaded && <Grid rows={rows} columns={columns} grouped={false} label="Runs inside the brush" />}
    </div>
  );
}

function ScatterTab({ all, within }: { all: Column[]; within: Within }) {
  const [x, y, color] = scatterColumns(all);
  const names = [...new Set([x, y, color].filter((name) => name !== ""))];
  const answer = useValues(within, names);
  const problem = noteFilter(answer.problem);
  const axes = useMemo(() => axesOf(answer.value, names, () => false), [answer.value, names.join("\n")]);
  const [across, up] = [axes.get(x), axes.get(y)];
  const colors = useMemo(() => axesOf(answer.value, [color], () => true).get(color) ?? null, [answer.value, color]);
  if (answer.value && color === "") assignMarks(answer.value.rows.slice(0, 64).flatMap((row) => row.id ?? []));
  return (
    <div class="compare">
      {problem && <ProblemNote problem={problem} again={answer.again} />}
      {names.length === 0 && <Empty title="There is nothing to draw yet." />}
      {across && up && answer.value && (
        <Scatter x={across} y={up} color={colors} rows={answer.value.rows} dark={isDark.value} />
      )}
      {answer.value && answer.value.matching > MOST_LINES && (
        <p class="quiet">The first {formatCount(MOST_LINES)} of {formatCount(answer.value.matching)} runs.</p>
      )}
    </div>
  );
}

function scatterColumns(all: Column[]): [string, string, string] {
  const [x, y, color] = page.value.scatter;
  const parameters = all.filter((column) => column.kind === "parameter" && column.varies && column.shown);
  const metric = proposedMetrics(all)[0]?.name ?? "";
  return [x || parameters[0]?.name || "started_at", y || metric || "duration", color];
}

function DifferencesTab({ within }: { within: Within }) {
  const { selected, sort } = page.value;
  const unasked = useAnswer<Table>(
    selected.length > 0 ? null : (signal) => source().table({ ...within, sort, columns: ["status"], limit: 6 }, signal),
    [within, sort, selected.length],
  );
  noteFilter(unasked.problem);
  const ids = selected.length > 0 ? selected : (unasked.value?.rows.flatMap((row) => row.id ?? []) ?? []);
  assignMarks(ids);
  if (selected.length === 0 && !unasked.value) return unasked.problem ? null : <Loading what="runs" />;
  return (
    <div class="compare compare-scroll">
      {selected.length === 0 && <p class="quiet">Of the first runs of the table; select runs to choose others.</p>}
      <Differences ids={ids} />
    </div>
  );
}

function AxisMenu({ all }: { all: Column[] }) {
  const names = page.value.axes ?? proposedAxes(all);
  const options = all.filter((column) => column.kind !== "field" || ["status", "experiment", "duration", "started_at", "host"].includes(column.name));
  const ordered = [...options].sort((one, other) => Number(names.includes(other.name)) - Number(names.includes(one.name)));
  return (
    <Popover label="Axes" name="Axes">
      {() => (
        <div class="column-list">
          <div class="column-scroll">
            {ordered.slice(0, 200).map((column) => (
              <label key={column.name} class="column-entry" title={column.name}>
                <input
                  type="checkbox"
                  checked={names.includes(column.name)}
                  onChange={(event) => {
                    const axes = event.currentTarget.checked ? [...names, column.name] : names.filter((name) => name !== column.name);
                    update({ axes, brushes: [] });
                  }}
                />
                <span>{column.label}</span>
              </label>
            ))}
          </div>
          <button type="button" onClick={() => update({ axes: null, brushes: [] })}>
            As at first
          </button>
        </div>
      )}
    </Popover>
  );
}

function ScatterMenus({ all }: { all: Column[] }) {
  const chosen = scatterColumns(all);
  const set = (at: number, name: string): void => {
    const scatter: [string, string, string] = [...chosen];
    scatter[at] = name;
    update({ scatter });
  };
  return (
    <>
      {(["x", "y", "colour"] as const).map((title, at) => (
        <label key={title} class="select">
          {title}
          <select aria-label={at === 2 ? "colour" : `${title} axis`} value={chosen[at]} onChange={(event) => set(at, event.currentTarget.value)}>
            {at === 2 && <option value="">the run</option>}
            {all
              .filter((column) => column.type !== "list")
              .map((column) => (
                <option key={column.name} value={column.name}>
                  {column.label}
                </option>
              ))}
          </select>
        </label>
      ))}
    </>
  );
}
