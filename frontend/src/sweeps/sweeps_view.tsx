// Sweeps: how far they are, their points with mean and deviation, the best of them.
import { useState } from "preact/hooks";
import type { SweepEntry, SweepList, SweepPage, SweepPoint } from "../api/schema";
import { source } from "../api/source";
import { quote } from "../api/filter";
import { exactValue, formatValue, numberOf } from "../api/values";
import { Empty, Loading, ProblemNote, Status } from "../parts/basic";
import { lazy } from "../parts/lazy";
import { useAnswer } from "../parts/use_answer";
import { addressOf, page, update } from "../state/address";
import { formatTime } from "../state/format";
import { useChanges } from "../state/live";
import { MOST_SELECTED, setSelected } from "../runs/selection";
import { shownSweep } from "./shown_sweep";

const SweepChart = lazy(() => import("./sweep_chart").then((module) => module.SweepChart));
const ORDER = ["completed", "running", "planned", "pruned", "interrupted", "failed", "lost"];

export function SweepsView() {
  return page.value.item ? <OneSweep name={page.value.item} /> : <AllSweeps />;
}

function AllSweeps() {
  const answer = useAnswer<SweepList>((signal) => source().sweeps(signal), []);
  useChanges(() => answer.again());
  if (answer.problem && !answer.value) return <ProblemNote problem={answer.problem} again={answer.again} />;
  if (!answer.value) return <Loading what="sweeps" />;
  if (answer.value.sweeps.length === 0)
    return (
      <Empty title="No sweeps here yet.">
        <p>A sweep runs an experiment with many values:</p>
        <pre>python digits.py sweep --seeds 3 train --learning-rate 1e-3,1e-2</pre>
      </Empty>
    );
  return (
    <div class="page-body">
      <table class="plain-table sweep-table">
        <thead>
          <tr>
            <th scope="col">sweep</th>
            <th scope="col">experiment</th>
            <th scope="col">started</th>
            <th scope="col">progress</th>
            <th scope="col" class="right">
              points
            </th>
            <th scope="col">objective</th>
            <th scope="col" class="right">
              best
            </th>
          </tr>
        </thead>
        <tbody>
          {answer.value.sweeps.map((sweep) => (
            <tr key={sweep.name}>
              <th scope="row">
                <a href={addressOf({ view: "sweeps", item: sweep.name, tab: "" })}>{sweep.name}</a>
                {sweep.is_running && <span class="live"> ● running</span>}
              </th>
              <td>{sweep.experiment}</td>
              <td>{sweep.created_at === null ? "" : formatTime(sweep.created_at)}</td>
              <td>
                <Progress counts={sweep.counts} />
              </td>
              <td class="right">{sweep.n_points}</td>
              <td>{sweep.metric ?? ""}</td>
              <td class="right" title={exactValue(sweep.best)}>
                {formatValue(sweep.best)}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Progress({ counts }: { counts: SweepEntry["counts"] }) {
  const entries = Object.entries(counts)
    .filter(([, count]) => count > 0)
    .sort(([one], [other]) => ORDER.indexOf(one) - ORDER.indexOf(other));
  const total = entries.reduce((sum, [, count]) => sum + count, 0);
  const text = entries.map(([status, count]) => `${count} ${status}`).join(", ");
  return (
    <div class="progress">
      <div class="progress-bar" role="img" aria-label={text}>
        {entries.map(([status, count]) => (
          <span key={status} class={`progress-part part-${status}`} style={{ width: `${(count / total) * 100}%` }} />
        ))}
      </div>
      <span class="quiet">{text}</span>
    </div>
  );
}

function OneSweep({ name }: { name: string }) {
  const answer = useAnswer<SweepPage>((signal) => source().sweep(name, signal), [name]);
  useChanges(() => answer.again());
  const sweep = answer.value?.name === name ? answer.value : null;
  if (answer.problem && !sweep) return <ProblemNote problem={answer.problem} again={answer.again} />;
  if (!sweep) return <Loading what="the sweep" />;
  shownSweep.value = sweep;
  const runs = sweep.points.flatMap((point) => point.runs);
  const best = sweep.points.find((point) => point.number === sweep.best);
  return (
    <div class="run">
      <header class="run-head">
        <div class="run-title">
          <h1>{sweep.name}</h1>
          {sweep.is_running && <span class="live">● running</span>}
          <span class="grow" />
          <a class="button" href={addressOf({ view: "runs", item: "", where: `sweep == ${quote(sweep.name)}` })}>
            In the table
          </a>
          <button
            type="button"
            disabled={runs.length === 0}
            title={runs.length > MOST_SELECTED ? `The first ${MOST_SELECTED} of ${runs.length} runs` : ""}
            onClick={() => {
              setSelected(runs);
              update({ view: "curves", item: "", tab: "" });
            }}
          >
            Curves
          </button>
          <button
            type="button"
            disabled={runs.length === 0}
            onClick={() => {
              setSelected(runs);
              update({ view: "compare", item: "", tab: "" });
            }}
          >
            Compare
          </button>
        </div>
        <div class="run-facts">
          <span>{sweep.experiment}</span>
          {sweep.created_at !== null && <span>{formatTime(sweep.created_at)}</span>}
          <span>
            {sweep.n_done} of {sweep.n_runs} runs done
          </span>
          {sweep.metric && <span>objective {sweep.metric}</span>}
        </div>
        <Progress counts={sweep.counts} />
        {best && <Best best={best} sweep={sweep} />}
      </header>
      <div class="run-body">
        {sweep.metric && sweep.points.some((point) => point.mean !== null) && <SweepChart />}
        <Points sweep={sweep} />
        {sweep.command.length > 0 && (
          <section class="card">
            <h2>Command</h2>
            <pre>{sweep.command.join(" ")}</pre>
          </section>
        )}
      </div>
    </div>
  );
}

function Best({ best, sweep }: { best: SweepPoint; sweep: SweepPage }) {
  return (
    <p class="sweep-best">
      ★ best: <strong>{spread(best)}</strong> with {settingOf(best, sweep)}
    </p>
  );
}

export function settingOf(point: SweepPoint, sweep: SweepPage): string {
  const names = sweep.varying.length > 0 ? sweep.varying : sweep.parameters;
  return names.map((name) => `${name} ${formatValue(point.values[sweep.parameters.indexOf(name)])}`).join(", ");
}

function spread(point: SweepPoint): string {
  if (point.mean === null) return "";
  return point.std === null ? formatValue(point.mean) : `${formatValue(point.mean)} ± ${formatValue(point.std)}`;
}

function Points({ sweep }: { sweep: SweepPage }) {
  const [sort, setSort] = useState("");
  const points = sortPoints(sweep, sort);
  const head = (name: string, key: string, right = false) => (
    <th scope="col" class={right ? "right" : ""} aria-sort={sort === key ? "ascending" : sort === `-${key}` ? "descending" : "none"}>
      <button type="button" class="plain sort" onClick={() => setSort(sort === key ? `-${key}` : sort === `-${key}` ? "" : key)}>
        {name} {sort === key ? "↑" : sort === `-${key}` ? "↓" : ""}
      </button>
    </th>
  );
  return (
    <section class="card card-wide">
      <h2>{sweep.points.length} points</h2>
      <div class="wide">
        <table class="plain-table">
          <thead>
            <tr>
              {head("#", "number", true)}
              {sweep.parameters.map((name) => head(name, `p:${name}`, true))}
              <th scope="col">status</th>
              {sweep.metric && head(sweep.metric, "mean", true)}
              {sweep.metric && head("± std", "std", true)}
              <th scope="col" class="right">
                n
              </th>
              <th scope="col">runs</th>
            </tr>
          </thead>
          <tbody>
            {points.map((point) => (
              <PointRow key={point.number} point={point} sweep={sweep} />
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

function PointRow({ point, sweep }: { point: SweepPoint; sweep: SweepPage }) {
  return (
    <tr class={point.number === sweep.best ? "best" : ""}>
      <td class="right">
        {point.number === sweep.best && "★ "}
        {point.number}
      </td>
      {point.values.map((value, at) => (
        <td key={at} class={numberOf(value) !== null ? "right" : ""} title={exactValue(value)}>
          {formatValue(value)}
        </td>
      ))}
      <td>
        <Status status={point.status} />
        {point.log && point.status !== "completed" && <div class="quiet last-line">{point.log}</div>}
      </td>
      {sweep.metric && (
        <td class="right" title={exactValue(point.mean)}>
          {formatValue(point.mean)}
        </td>
      )}
      {sweep.metric && <td class="right">{formatValue(point.std)}</td>}
      <td class="right">
        {point.n}/{point.statuses.length}
      </td>
      <td>
        {point.runs.map((id, at) => (
          <a key={id} class="run-link" href={addressOf({ view: "run", item: id, tab: "" })} title={`${id}: ${point.statuses[at] ?? ""}`}>
            {id.slice(-6)}
          </a>
        ))}
      </td>
    </tr>
  );
}

function sortPoints(sweep: SweepPage, sort: string): SweepPoint[] {
  const key = sort.replace(/^-/, "");
  if (!key) return sweep.points;
  const sign = sort.startsWith("-") ? -1 : 1;
  const value = (point: SweepPoint): unknown =>
    key === "number" ? point.number : key === "mean" ? point.mean : key === "std" ? point.std : point.values[sweep.parameters.indexOf(key.slice(2))];
  return [...sweep.points].sort((one, other) => {
    const [first, second] = [value(one) ?? null, value(other) ?? null];
    if (first === null || second === null) return Number(first === null) - Number(second === null);
    const [number, otherNumber] = [numberOf(first), numberOf(second)];
    if (number !== null && otherNumber !== null) return sign * (number - otherNumber);
    return sign * formatValue(first).localeCompare(formatValue(second));
  });
}
