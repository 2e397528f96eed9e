// In what the records of some runs differ.
import { useState } from "preact/hooks";
import type { Comparison, Difference } from "../api/schema";
import { source } from "../api/source";
import { exactValue, formatValue, numberOf } from "../api/values";
import { Empty, Loading, ProblemNote, Swatch, Toggle } from "../parts/basic";
import { useAnswer } from "../parts/use_answer";
import { addressOf } from "../state/address";
import { shortId } from "../state/format";

const SECTIONS: [keyof Omit<Comparison, "runs">, string][] = [
  ["parameters", "Parameters"],
  ["code", "Code"],
  ["packages", "Packages"],
  ["metrics", "Metrics"],
];
/** As many as fit beside each other and can be told apart. */
export const MOST_COMPARED = 16;

export function Differences({ ids }: { ids: string[] }) {
  const shown = ids.slice(0, MOST_COMPARED);
  const [onlyFirst, setOnlyFirst] = useState(false);
  const answer = useAnswer<Comparison>(shown.length > 1 ? (signal) => source().compare(shown, signal) : null, [shown]);
  if (shown.length < 2) return <Empty title="Two runs or more can be compared.">Select them in the table.</Empty>;
  if (answer.problem) return <ProblemNote problem={answer.problem} again={answer.again} />;
  const comparison = answer.value;
  if (!comparison) return <Loading what="what differs" />;
  const sections = SECTIONS.filter(([name]) => comparison[name].length > 0);
  if (sections.length === 0) return <Empty title="Nothing differs between these runs." />;
  return (
    <div class="differences">
      {ids.length > shown.length && <p class="quiet">The first {shown.length} of {ids.length} runs. Select runs to choose others.</p>}
      <Toggle label="only what differs from the first" checked={onlyFirst} set={setOnlyFirst} title="Fade values that are those of the first run" />
      <div class="wide">
        <table class={onlyFirst ? "plain-table fade-same" : "plain-table"}>
          <thead>
            <tr>
              <th scope="col" />
              {comparison.runs.map((id) => (
                <th scope="col" key={id} title={id}>
                  <Swatch id={id} />
                  <a href={addressOf({ view: "run", item: id, tab: "" })}>{shortId(id)}</a>
                </th>
              ))}
            </tr>
          </thead>
          {sections.map(([name, title]) => (
            <tbody key={name}>
              <tr>
                <th colSpan={comparison.runs.length + 1} scope="rowgroup" class="section-title">
                  {title}
                </th>
              </tr>
              {comparison[name].map((difference) => (
                <DifferenceRow key={difference.name} difference={difference} />
              ))}
            </tbody>
          ))}
        </table>
      </div>
    </div>
  );
}

function DifferenceRow({ difference }: { difference: Difference }) {
  const first = JSON.stringify(difference.values[0] ?? null);
  return (
    <tr>
      <th scope="row" title={difference.name}>
        <span class="some-lines">{difference.name}</span>
      </th>
      {difference.values.map((value, at) => (
        <td
          key={at}
          class={`${numberOf(value) !== null ? "right" : ""} ${at > 0 && JSON.stringify(value ?? null) === first ? "same" : ""}`}
          title={exactValue(value)}
        >
          {value === null || value === undefined ? <span class="nothing">–</span> : <span class="some-lines">{formatValue(value)}</span>}
        </td>
      ))}
    </tr>
  );
}
