// All runs as a table.
import { useState } from "preact/hooks";
import type { Column, Row } from "../api/schema";
import { source, type TableQuery } from "../api/source";
import { Empty, Loading, ProblemNote } from "../parts/basic";
import { noteFilter } from "../parts/filter_field";
import { addressOf, page } from "../state/address";
import { formatCount } from "../state/format";
import { session, useChanges } from "../state/live";
import { useColumns } from "./columns";
import { ColumnMenu, GroupMenu } from "./column_menu";
import { Grid } from "./grid";
import { LabelEditor } from "./label_editor";
import { useRows, type RowWindow } from "./row_window";
import { setSelected } from "./selection";

export function RunsView() {
  const { where, sort, groupBy, columns: chosen } = page.value;
  const all = useColumns();
  // The first question does not wait for the columns: the server knows which it shows unasked.
  const wanted = chosen && [...chosen, ...groupBy.filter((name) => !chosen.includes(name))];
  const query: TableQuery = { where, sort, groupBy, columns: wanted };
  const rows = useRows(query);
  const [edited, setEdited] = useState<Row | null>(null);
  useChanges(() => rows.refresh());
  const problem = noteFilter(rows.problem, rows.warning);
  const columns = shownColumns(rows, all ?? rows.columns, chosen);
  const names = columns.map((column) => column.name);
  if (!rows.loaded && problem) return <ProblemNote problem={problem} again={rows.refresh} />;
  if (!rows.loaded && !rows.problem) return <Loading what="runs" />;
  if (rows.loaded && rows.total === 0 && !where) return <NoRuns />;
  return (
    <>
      <div class="toolbar">
        <Counts rows={rows} grouped={groupBy.length > 0} />
        <span class="grow" />
        {source().hasServer && all && <GroupMenu all={all} />}
        {all && <ColumnMenu all={all} shown={names} />}
        <CsvLink query={{ ...query, columns: names }} />
      </div>
      {problem && <ProblemNote problem={problem} />}
      <Damaged />
      <Grid
        rows={rows}
        columns={columns}
        grouped={groupBy.length > 0}
        label="Runs"
        {...(source().hasServer && groupBy.length === 0 ? { edit: setEdited } : {})}
      />
      {rows.loaded && rows.matching === 0 && !rows.problem && <Empty title="No run fulfils this filter." />}
      {edited?.id && (
        <LabelEditor
          id={edited.id}
          close={() => setEdited(null)}
          saved={() => rows.refresh()}
        />
      )}
    </>
  );
}

/** The lead column shows the run's name, so that the field `id` needs none of its own. */
export function shownColumns(rows: RowWindow, all: Column[], chosen: string[] | null): Column[] {
  const known = new Map([...all, ...rows.columns].map((column) => [column.name, column]));
  const unordered = chosen ?? [...rows.columns].sort(byInterest).map((column) => column.name);
  const { groupBy } = page.value;
  const names = [...groupBy, ...unordered.filter((name) => !groupBy.includes(name))];
  return names.flatMap((name) => (name === "id" ? [] : (known.get(name) ?? [])));
}

/** What one came for first: how it went, with which parameters, and how good it is. When is in the name of the run. */
function byInterest(one: Column, other: Column): number {
  return interest(one) - interest(other);
}

function interest(column: Column): number {
  if (column.name === "experiment" || column.name === "status") return 0;
  if (column.kind === "parameter") return 1;
  if (column.kind === "metric") return column.direction ? 2 : 3;
  return 4;
}

function Counts({ rows, grouped }: { rows: RowWindow; grouped: boolean }) {
  const { selected, where } = page.value;
  const what = grouped ? "groups" : "runs";
  const of = where.trim() !== "" && !grouped ? ` of ${formatCount(rows.total)}` : "";
  return (
    <>
      <span class="counts" role="status">
        <strong>{formatCount(rows.matching)}</strong>
        {of} {what}
        {grouped && ` of ${formatCount(rows.total)} runs`}
      </span>
      {selected.length > 0 && (
        <span class="selection">
          <strong>{selected.length}</strong> selected
          <a class="button" href={addressOf({ view: "curves", item: "", tab: "" })}>
            Curves
          </a>
          <a class="button" href={addressOf({ view: "compare", item: "", tab: "" })}>
            Compare
          </a>
          <button type="button" class="plain" onClick={() => setSelected([])}>
            Clear
          </button>
        </span>
      )}
    </>
  );
}

function CsvLink({ query }: { query: TableQuery }) {
  const address = source().csvAddress(query);
  if (address === null) return null;
  return (
    <a class="button" href={address} download="runs.csv" title="What is shown, as CSV">
      CSV
    </a>
  );
}

function Damaged() {
  const damaged = session.value?.damaged ?? [];
  if (damaged.length === 0) return null;
  return (
    <details class="note">
      <summary>
        {damaged.length} {damaged.length === 1 ? "directory" : "directories"} can not be read
      </summary>
      <ul>
        {damaged.map((path) => (
          <li key={path}>{path}</li>
        ))}
      </ul>
      <p>`pystematic doctor` says what is wrong with them.</p>
    </details>
  );
}

function NoRuns() {
  return (
    <Empty title="No runs here yet.">
      <p>
        Runs that are started with their output in <code>{session.value?.root ?? "this folder"}</code> appear here by themselves:
      </p>
      <pre>python digits.py train --learning-rate 0.01</pre>
    </Empty>
  );
}
