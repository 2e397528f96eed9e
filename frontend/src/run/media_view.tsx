// Images, figures, texts, tables and histograms of a run, by tag, with a slider over their steps.
import { useState } from "preact/hooks";
import type { Histogram, Media, MediaItem, TableData, Tag } from "../api/schema";
import { source } from "../api/source";
import { formatValue, numberOf } from "../api/values";
import { Empty, Loading, ProblemNote } from "../parts/basic";
import { useAnswer } from "../parts/use_answer";
import { formatNumber, formatSize, formatTime } from "../state/format";
import { touches, useChanges } from "../state/live";

const LIVE_MS = 3000;

export function MediaTab({ id, tags }: { id: string; tags: Tag[] }) {
  if (tags.length === 0) return <Empty title="This run has recorded no images, figures, texts, tables or histograms." />;
  return (
    <div class="media">
      {tags.map((tag) => (
        <MediaOfTag key={`${tag.kind} ${tag.tag}`} id={id} tag={tag} />
      ))}
    </div>
  );
}

function MediaOfTag({ id, tag }: { id: string; tag: Tag }) {
  const answer = useAnswer<Media>((signal) => source().media(id, tag.tag, signal), [id, tag.tag]);
  const [chosen, setChosen] = useState<number | null>(null);
  useChanges((change) => {
    if (touches(change, [id])) answer.again();
  }, LIVE_MS);
  const items = (answer.value?.items ?? []).filter((item) => item.kind === tag.kind);
  // The newest, until one looks at an earlier one.
  const at = Math.min(items.length - 1, chosen ?? items.length - 1);
  const item = items[at];
  return (
    <section class={`medium medium-${tag.kind}`}>
      <header>
        <h3 title={tag.tag}>{tag.tag}</h3>
        <span class="quiet">{tag.kind}</span>
        {item && (
          <span class="quiet" title={formatTime(item.time)}>
            step {item.step}
          </span>
        )}
      </header>
      {answer.problem && <ProblemNote problem={answer.problem} again={answer.again} />}
      {!answer.value && !answer.problem && <Loading what={tag.tag} />}
      {items.length > 1 && (
        <input
          type="range"
          aria-label={`Step of ${tag.tag}`}
          min="0"
          max={items.length - 1}
          value={at}
          onInput={(event) => {
            const value = Number(event.currentTarget.value);
            setChosen(value === items.length - 1 ? null : value);
          }}
        />
      )}
      {item && <Item item={item} />}
    </section>
  );
}

function Item({ item }: { item: MediaItem }) {
  return (
    <>
      {item.inline && item.url && <img src={item.url} alt={`${item.tag}, step ${item.step}`} loading="lazy" />}
      {item.text !== undefined && <pre class="recorded-text">{item.text}</pre>}
      {item.table && <RecordedTable table={item.table} />}
      {item.histogram && <Bars histogram={item.histogram} label={item.tag} />}
      {item.cut && <p class="quiet">Only a part of it is shown here.</p>}
      {item.url && !(item.inline && item.kind === "image") && (
        <a href={item.url} download>
          Download{item.size_bytes !== null && `, ${formatSize(item.size_bytes)}`}
        </a>
      )}
    </>
  );
}

function RecordedTable({ table }: { table: TableData }) {
  return (
    <div class="wide">
      <table class="plain-table">
        <thead>
          <tr>
            {table.columns.map((name, at) => (
              <th scope="col" key={at}>
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {table.rows.map((row, at) => (
            <tr key={at}>
              {row.map((value, place) => (
                <td key={place} class={numberOf(value) !== null ? "right" : ""}>
                  {formatValue(value)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

const [WIDE, HIGH] = [360, 160];

function Bars({ histogram, label }: { histogram: Histogram; label: string }) {
  const { edges, counts } = histogram;
  const [low, high] = [edges[0] ?? 0, edges.at(-1) ?? 1];
  const most = Math.max(1, ...counts);
  const place = (value: number): number => (high > low ? ((value - low) / (high - low)) * WIDE : 0);
  return (
    <svg class="bars" viewBox={`0 0 ${WIDE} ${HIGH + 18}`} role="img" aria-label={`Histogram of ${label} from ${formatNumber(low)} to ${formatNumber(high)}`}>
      {counts.map((count, at) => {
        const left = place(edges[at] ?? low);
        const tall = (count / most) * (HIGH - 6);
        return (
          <rect key={at} x={left} width={Math.max(0.5, place(edges[at + 1] ?? high) - left - 0.6)} y={HIGH - tall} height={tall}>
            <title>
              {formatNumber(edges[at] ?? 0)} … {formatNumber(edges[at + 1] ?? 0)}: {formatNumber(count)}
            </title>
          </rect>
        );
      })}
      <line x1="0" x2={WIDE} y1={HIGH} y2={HIGH} />
      <text x="0" y={HIGH + 14}>
        {formatNumber(low)}
      </text>
      <text x={WIDE} y={HIGH + 14} text-anchor="end">
        {formatNumber(high)}
      </text>
    </svg>
  );
}
