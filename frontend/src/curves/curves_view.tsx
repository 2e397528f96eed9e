// Small multiples of all that was recorded, many runs over each other.
import { useMemo, useRef } from "preact/hooks";
import type { Tag } from "../api/schema";
import { source } from "../api/source";
import { Choice, Empty, Loading, ProblemNote, SearchField, Toggle } from "../parts/basic";
import { useSize } from "../parts/element_size";
import { noteFilter } from "../parts/filter_field";
import { useAnswer } from "../parts/use_answer";
import { page, update, type PageState } from "../state/address";
import { useKeys } from "../state/keys";
import { isEmpty, useChanges } from "../state/live";
import { assignMarks } from "../state/marks";
import { scale } from "../state/scale";
import { useColumns } from "../runs/columns";
import { RunList } from "./run_list";
import { Chart } from "./chart";
import { useDrawnRuns } from "./drawn_runs";
import { groupRuns } from "./groups";

const HEIGHTS: Record<PageState["size"], number> = { small: 190, medium: 260, large: 380 };
const WIDTHS: Record<PageState["size"], number> = { small: 300, medium: 420, large: 640 };
const FEW_TAGS = 2;
const TAGS_MS = 5000;

export function CurvesView() {
  const all = useColumns();
  const drawn = useDrawnRuns(all);
  const { bands, groupBy, tagSearch, focus } = page.value;
  const runs = drawn.value?.runs ?? [];
  const ids = runs.map((run) => run.id);
  const tags = useAnswer<Tag[]>(ids.length > 0 ? (signal) => source().tags(ids, signal) : null, [ids]);
  useChanges((change) => {
    if (isEmpty(change) || change.changed.length + change.grown.length > 0) tags.again();
  }, TAGS_MS);
  const groups = useMemo(
    () => (bands && drawn.value ? groupRuns(drawn.value.runs, drawn.value.columns, groupBy) : null),
    [drawn.value, bands, groupBy.join("\n")],
  );
  if (groups) assignMarks(groups.map((group) => group.key));
  useCurveKeys();
  const problem = noteFilter(drawn.problem);
  const shown = (tags.value ?? []).filter((tag) => fits(tag.tag, tagSearch));
  const focused = shown.find((tag) => tag.tag === focus);
  return (
    <>
      <CurveTools nTags={tags.value?.length ?? 0} nShown={shown.length} />
      <div class="split">
        <RunList drawn={drawn.value} groups={groups} />
        <div class="split-main curves">
          {problem && <ProblemNote problem={problem} again={drawn.again} />}
          {tags.problem && <ProblemNote problem={tags.problem} again={tags.again} />}
          {!drawn.value && !problem && <Loading what="runs" />}
          {drawn.value && runs.length === 0 && <Empty title="No run to draw.">Change the filter, or select runs in the table.</Empty>}
          {runs.length > 0 && !tags.value && tags.loading && <Loading what="tags" />}
          {tags.value && tags.value.length === 0 && <Empty title="These runs have recorded no numbers yet." />}
          {tags.value && tags.value.length > 0 && shown.length === 0 && <Empty title={`No tag holds “${tagSearch}”.`} />}
          {focused ? (
            <LargeChart tag={focused.tag} runs={runs} groups={groups} />
          ) : (
            <Sections tags={shown} runs={runs} groups={groups} />
          )}
        </div>
      </div>
    </>
  );
}

type Drawn = Pick<Parameters<typeof Chart>[0], "runs" | "groups">;

export function fits(tag: string, search: string): boolean {
  const text = tag.toLowerCase();
  return search
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word));
}

/** Tags by what stands before their first slash; `system/` last, as it is rarely what one came for. */
export function Sections({ tags, runs, groups }: { tags: Tag[] } & Drawn) {
  // One or two charts have the space that many would share.
  const size = tags.length <= FEW_TAGS ? "large" : page.value.size;
  const sections = new Map<string, Tag[]>();
  for (const tag of tags) {
    const name = tag.tag.includes("/") ? tag.tag.slice(0, tag.tag.indexOf("/")) : "";
    sections.set(name, [...(sections.get(name) ?? []), tag]);
  }
  const ordered = [...sections].sort(([one], [other]) => Number(one === "system") - Number(other === "system"));
  return (
    <>
      {ordered.map(([name, members]) => (
        <details key={name} class="section" open={name !== "system"}>
          <summary>
            {name || "other"} <span class="quiet">{members.length}</span>
          </summary>
          <div class="multiples" style={{ gridTemplateColumns: `repeat(auto-fit, minmax(min(${Math.round(WIDTHS[size] * scale.value)}px, 100%), 1fr))` }}>
            {members.map((tag) => (
              <Chart key={tag.tag} tag={tag.tag} runs={runs} groups={groups} height={Math.round(HEIGHTS[size] * scale.value)} />
            ))}
          </div>
        </details>
      ))}
    </>
  );
}

export function LargeChart({ tag, runs, groups }: { tag: string } & Drawn) {
  const frame = useRef<HTMLDivElement>(null);
  const { height } = useSize(frame);
  return (
    <div class="large-chart" ref={frame}>
      <Chart key={tag} tag={tag} runs={runs} groups={groups} height={Math.max(300, height)} large />
    </div>
  );
}

export function CurveTools({ nTags, nShown }: { nTags: number; nShown: number }) {
  const { x, smoothing, logX, logY, bands, tagSearch, size, zoom, groupBy } = page.value;
  return (
    <div class="toolbar">
      <SearchField label="Search tags" value={tagSearch} set={(text) => update({ tagSearch: text, focus: "" })} />
      <span class="counts" role="status">
        {nShown === nTags ? `${nTags} tags` : `${nShown} of ${nTags} tags`}
      </span>
      <span class="grow" />
      {zoom && (
        <button type="button" onClick={() => update({ zoom: null })} title="0, or double click in a chart">
          Zoom out
        </button>
      )}
      <Choice
        label="x axis"
        value={x}
        options={[
          ["step", "Step"],
          ["relative", "Relative"],
          ["time", "Time"],
        ]}
        choose={(value) => update({ x: value, zoom: null, ...(value === "time" ? { logX: false } : {}) })}
      />
      <label class="slider" title="Exponential moving average; the raw line stays behind it">
        Smoothing
        <input
          type="range"
          min="0"
          max="0.99"
          step="0.01"
          value={smoothing}
          disabled={bands}
          onInput={(event) => update({ smoothing: Number(event.currentTarget.value) })}
        />
        <output>{smoothing.toFixed(2)}</output>
      </label>
      <Toggle label="log x" checked={logX} set={(on) => update({ logX: on, ...(on && x === "time" ? { x: "relative", zoom: null } : {}) })} />
      <Toggle label="log y" checked={logY} set={(on) => update({ logY: on })} />
      <Toggle
        label="mean ± std"
        title={`One line and a band for each group: ${groupBy.length > 0 ? "by what the table is grouped by" : "runs that differ in the seed only"}`}
        checked={bands}
        set={(on) => update({ bands: on })}
      />
      <Choice
        label="Size of charts"
        value={size}
        options={[
          ["small", "S"],
          ["medium", "M"],
          ["large", "L"],
        ]}
        choose={(value) => update({ size: value })}
      />
    </div>
  );
}

export function useCurveKeys(): void {
  const scale = (factor: number, shift: number) => (): void => {
    const { zoom } = page.value;
    if (!zoom) return;
    const [low, high] = zoom;
    const [middle, half] = [(low + high) / 2 + shift * (high - low), ((high - low) / 2) * factor];
    update({ zoom: [middle - half, middle + half] });
  };
  const smooth = (by: number) => (): void => {
    update({ smoothing: Math.round(Math.min(0.99, Math.max(0, page.value.smoothing + by)) * 100) / 100 });
  };
  useKeys([
    { keys: "Escape", help: "All charts", run: () => update({ focus: "" }) },
    { keys: "0", help: "See all of x", run: () => update({ zoom: null }) },
    { keys: "+ | =", help: "Zoom in further", run: scale(0.5, 0) },
    { keys: "-", help: "Zoom out", run: scale(2, 0) },
    { keys: "ArrowLeft", help: "Move the zoom to the left", run: scale(1, -0.25) },
    { keys: "ArrowRight", help: "Move the zoom to the right", run: scale(1, 0.25) },
    { keys: "[", help: "Smooth less", run: smooth(-0.05) },
    { keys: "]", help: "Smooth more", run: smooth(0.05) },
    { keys: "l", help: "Logarithmic y axis", run: () => update({ logY: !page.value.logY }) },
    { keys: "b", help: "Mean and band", run: () => update({ bands: !page.value.bands }) },
  ]);
}
