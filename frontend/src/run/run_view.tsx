// All of one run.
import { useMemo, useState } from "preact/hooks";
import type { RunPage, Tag } from "../api/schema";
import { source } from "../api/source";
import { exactValue, formatValue } from "../api/values";
import { Empty, Icon, Loading, ProblemNote, Status, Swatch } from "../parts/basic";
import { useAnswer } from "../parts/use_answer";
import { CurveTools, fits, LargeChart, Sections, useCurveKeys } from "../curves/curves_view";
import { LabelEditor } from "../runs/label_editor";
import { toggleSelected } from "../runs/selection";
import { addressOf, page } from "../state/address";
import { formatDuration, formatSize, formatTime, shortId } from "../state/format";
import { touches, useChanges } from "../state/live";
import { LogTab } from "./log_view";
import { MediaTab } from "./media_view";
import { PatchView } from "./patch_view";

const LIVE_MS = 2000;
const TABS = [
  ["", "Overview"],
  ["curves", "Curves"],
  ["log", "Log"],
  ["media", "Media"],
  ["code", "Code & environment"],
  ["files", "Files"],
] as const;

export function RunView() {
  const { item, tab } = page.value;
  const answer = useAnswer<RunPage>(item ? (signal) => source().run(item, signal) : null, [item]);
  const [editing, setEditing] = useState(false);
  useChanges((change) => {
    if (touches(change, [item])) answer.again();
  }, LIVE_MS);
  const run = answer.value?.id === item ? answer.value : null;
  if (!item) return <Empty title="No run is chosen." />;
  if (answer.problem && !run) return <ProblemNote problem={answer.problem} again={answer.again} />;
  if (!run) return <Loading what="the run" />;
  const { hasServer } = source();
  const tabs = TABS.filter(([name]) => hasServer || name === "" || name === "curves" || name === "code");
  return (
    <div class="run">
      <RunHead run={run} edit={hasServer ? () => setEditing(true) : null} />
      <nav class="tabs" aria-label="Parts of the run">
        {tabs.map(([name, label]) => (
          <a key={name} href={addressOf({ tab: name })} aria-current={name === tab ? "page" : undefined}>
            {label}
            {name === "media" && run.media.length > 0 && <span class="quiet"> {run.media.length}</span>}
            {name === "files" && run.files.length > 0 && <span class="quiet"> {run.files.length}</span>}
          </a>
        ))}
      </nav>
      {tab === "" && <Overview run={run} />}
      {tab === "curves" && <RunCurves run={run} />}
      {tab === "log" && <LogTab id={run.id} logs={run.logs} running={run.status === "running"} />}
      {tab === "media" && <MediaTab id={run.id} tags={run.media} />}
      {tab === "code" && <CodeTab run={run} />}
      {tab === "files" && <FilesTab run={run} />}
      {editing && <LabelEditor id={run.id} close={() => setEditing(false)} saved={answer.again} />}
    </div>
  );
}

function RunHead({ run, edit }: { run: RunPage; edit: (() => void) | null }) {
  const isSelected = page.value.selected.includes(run.id);
  const notes = [run.given_note, run.note].filter((note, at, all) => note && all.indexOf(note) === at);
  return (
    <header class="run-head">
      <div class="run-title">
        <Swatch id={run.id} />
        <h1>{shortId(run.id)}</h1>
        <Status status={run.status} />
        <span class="tags">
          {run.tags.map((tag) => (
            <span class="tag" key={tag}>
              {tag}
            </span>
          ))}
        </span>
        {edit && (
          <button type="button" class="plain" onClick={edit} aria-label="Edit tags and note" title="Edit tags and note">
            <Icon name="pencil" />
          </button>
        )}
        <span class="grow" />
        <button type="button" aria-pressed={isSelected} onClick={() => toggleSelected([run.id])}>
          {isSelected ? "Selected" : "Select"}
        </button>
      </div>
      <div class="run-facts">
        <span>{run.experiment}</span>
        {run.started_at !== null && <span>{formatTime(run.started_at)}</span>}
        {run.duration !== null && <span>{formatDuration(run.duration)}</span>}
        {run.host && <span>{run.host}</span>}
        {run.exit_code !== null && run.exit_code !== 0 && <span>exit code {run.exit_code}</span>}
        {run.sweep && !source().hasServer && <span>sweep {run.sweep}</span>}
        {run.sweep && source().hasServer && <a href={addressOf({ view: "sweeps", item: run.sweep, tab: "" })}>sweep {run.sweep}</a>}
        <code title="The run directory">{run.path}</code>
      </div>
      {notes.map((note) => (
        <p class="run-note" key={note}>
          {note}
        </p>
      ))}
    </header>
  );
}

function Overview({ run }: { run: RunPage }) {
  return (
    <div class="run-body columns">
      {run.error && (
        <section class="card card-wide">
          <h2>
            {run.error.type || "Error"}
            {run.error.message && `: ${run.error.message}`}
          </h2>
          {run.error.traceback && <pre class="traceback">{run.error.traceback}</pre>}
        </section>
      )}
      <section class="card">
        <h2>Parameters</h2>
        <ParameterTable run={run} />
      </section>
      <section class="card">
        <h2>Metrics</h2>
        <MetricTable run={run} />
        {(run.dropped > 0 || run.damaged_lines > 0) && (
          <p class="note">
            {run.dropped > 0 && `${run.dropped} numbers could not be recorded. `}
            {run.damaged_lines > 0 && `${run.damaged_lines} lines of the series are damaged and left out.`}
          </p>
        )}
      </section>
      <section class="card card-wide">
        <h2>Attempts</h2>
        <Attempts run={run} />
        {run.command.length > 0 && (
          <>
            <h3>Command</h3>
            <pre>{run.command.join(" ")}</pre>
          </>
        )}
      </section>
    </div>
  );
}

/** Own parameters first; those that every experiment has are folded away where nobody has set them. */
function ParameterTable({ run }: { run: RunPage }) {
  const set = run.parameters.filter((parameter) => parameter.source !== "default");
  const defaults = run.parameters.filter((parameter) => parameter.source === "default");
  const rows = (parameters: RunPage["parameters"]) =>
    parameters.map(({ name, value, source: from }) => (
      <tr key={name}>
        <th scope="row">{name}</th>
        <td title={exactValue(value)}>
          {value === null ? <span class="nothing">none</span> : formatValue(value)}
        </td>
        <td class="quiet">{from ?? ""}</td>
      </tr>
    ));
  if (run.parameters.length === 0) return <p class="quiet">No parameters were recorded.</p>;
  return (
    <table class="plain-table">
      <thead>
        <tr>
          <th scope="col">name</th>
          <th scope="col">value</th>
          <th scope="col">source</th>
        </tr>
      </thead>
      <tbody>
        {rows(set)}
        {rows(defaults)}
      </tbody>
    </table>
  );
}

const STATISTICS = ["last", "min", "max", "mean", "count"] as const;

function MetricTable({ run }: { run: RunPage }) {
  const metrics = [...run.metrics].sort((one, other) => Number(one.tag.startsWith("system/")) - Number(other.tag.startsWith("system/")));
  if (metrics.length === 0) return <p class="quiet">No numbers were recorded.</p>;
  const declared = run.metric?.replace(/:(max|min)(@best)?$/, "");
  return (
    <table class="plain-table">
      <thead>
        <tr>
          <th scope="col">tag</th>
          {STATISTICS.map((name) => (
            <th scope="col" class="right" key={name}>
              {name}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {metrics.map((metric) => (
          <tr key={metric.tag} class={metric.tag === declared ? "best" : ""}>
            <th scope="row" title={metric.tag === declared ? "The metric of this experiment" : metric.tag}>
              <a href={addressOf({ tab: "curves", focus: metric.tag, tagSearch: "" })}>{metric.tag}</a>
              {metric.tag === declared && " ★"}
            </th>
            {STATISTICS.map((name) => (
              <td class="right" key={name} title={atStep(metric, name)}>
                {metric[name] === null ? <span class="odd">nan</span> : formatValue(metric[name])}
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function atStep(metric: RunPage["metrics"][number], name: (typeof STATISTICS)[number]): string {
  const exact = exactValue(metric[name]);
  if (name === "min") return `${exact} at step ${formatValue(metric.min_step)}`;
  return name === "max" ? `${exact} at step ${formatValue(metric.max_step)}` : exact;
}

function Attempts({ run }: { run: RunPage }) {
  if (run.attempts.length === 0) return <p class="quiet">None were recorded.</p>;
  const names = [...new Set(run.attempts.flatMap((attempt) => Object.keys(attempt)))].filter((name) => name !== "argv");
  return (
    <div class="wide">
      <table class="plain-table">
        <thead>
          <tr>
            <th scope="col">#</th>
            {names.map((name) => (
              <th scope="col" key={name}>
                {name.replaceAll("_", " ")}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {run.attempts.map((attempt, at) => (
            <tr key={at}>
              <td class="right">{at + 1}</td>
              {names.map((name) => (
                <td key={name}>{attemptText(name, attempt[name])}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function attemptText(name: string, value: unknown): string {
  if (name.endsWith("_at") && typeof value === "string") return formatTime(Date.parse(value) / 1000);
  return formatValue(value);
}

function RunCurves({ run }: { run: RunPage }) {
  const { tagSearch, focus } = page.value;
  const runs = useMemo(() => [{ id: run.id, label: shortId(run.id) }], [run.id]);
  const tags = useAnswer<Tag[]>((signal) => source().tags([run.id], signal), [run.id, run.metrics.length]);
  useCurveKeys();
  const shown = (tags.value ?? []).filter((tag) => fits(tag.tag, tagSearch));
  const focused = shown.find((tag) => tag.tag === focus);
  return (
    <div class="run-curves">
      <CurveTools nTags={tags.value?.length ?? 0} nShown={shown.length} />
      {tags.problem && <ProblemNote problem={tags.problem} again={tags.again} />}
      {tags.value?.length === 0 && <Empty title="This run has recorded no numbers yet." />}
      <div class="curves">
        {focused ? <LargeChart tag={focused.tag} runs={runs} groups={null} /> : <Sections tags={shown} runs={runs} groups={null} />}
      </div>
    </div>
  );
}

function CodeTab({ run }: { run: RunPage }) {
  return (
    <div class="run-body">
      <section class="card">
        <h2>Code</h2>
        <Facts of={run.code} />
      </section>
      <section class="card card-wide">
        <h2>Uncommitted changes</h2>
        {!run.has_patch && <p class="quiet">None.</p>}
        {run.has_patch && source().hasServer && <PatchView id={run.id} />}
        {run.has_patch && !source().hasServer && <p class="quiet">There are some, which are not in this report.</p>}
      </section>
      <section class="card card-wide">
        <h2>Environment</h2>
        <Facts of={run.environment} />
      </section>
    </div>
  );
}

/** Anything nested, as tables in tables; long lists of names and versions folded. */
function Facts({ of }: { of: Record<string, unknown> }) {
  const entries = Object.entries(of).filter(([, value]) => value !== null && value !== "");
  if (entries.length === 0) return <p class="quiet">Nothing was recorded.</p>;
  return (
    <table class="plain-table facts">
      <tbody>
        {entries.map(([name, value]) => (
          <tr key={name}>
            <th scope="row">{name}</th>
            <td>
              <Fact value={value} />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

const FOLDED_FROM = 12;

function Fact({ value }: { value: unknown }) {
  if (typeof value !== "object" || value === null || Array.isArray(value) || "special" in value)
    return <span class="fact">{Array.isArray(value) && value.some((item) => typeof item === "object") ? <pre>{JSON.stringify(value, null, 2)}</pre> : formatValue(value)}</span>;
  const facts = <Facts of={value as Record<string, unknown>} />;
  const count = Object.keys(value).length;
  if (count <= FOLDED_FROM) return facts;
  return (
    <details>
      <summary>{count} entries</summary>
      {facts}
    </details>
  );
}

function FilesTab({ run }: { run: RunPage }) {
  return (
    <div class="run-body columns">
      <section class="card">
        <h2>Checkpoints</h2>
        {run.checkpoints.length === 0 ? (
          <p class="quiet">None.</p>
        ) : (
          <table class="plain-table">
            <thead>
              <tr>
                <th scope="col">id</th>
                <th scope="col" class="right">
                  step
                </th>
                <th scope="col" class="right">
                  size
                </th>
                <th scope="col">file</th>
              </tr>
            </thead>
            <tbody>
              {run.checkpoints.map((checkpoint) => (
                <tr key={checkpoint.file} class={checkpoint.best ? "best" : ""}>
                  <th scope="row">
                    {checkpoint.id}
                    {checkpoint.best && " ★ best"}
                  </th>
                  <td class="right">{formatValue(checkpoint.step)}</td>
                  <td class="right">{checkpoint.size_bytes === null ? "" : formatSize(checkpoint.size_bytes)}</td>
                  <td>
                    <a href={checkpoint.url} download>
                      {checkpoint.file}
                    </a>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        )}
      </section>
      <section class="card">
        <h2>Files and artifacts</h2>
        <table class="plain-table">
          <thead>
            <tr>
              <th scope="col">file</th>
              <th scope="col" class="right">
                size
              </th>
              <th scope="col">changed</th>
            </tr>
          </thead>
          <tbody>
            {run.files.map((file) => (
              <tr key={file.path}>
                <th scope="row">
                  <a href={file.url} {...(file.inline ? { target: "_blank", rel: "noreferrer" } : { download: true })}>
                    {file.path}
                  </a>
                </th>
                <td class="right">{formatSize(file.size_bytes)}</td>
                <td class="quiet">{formatTime(file.changed_at)}</td>
              </tr>
            ))}
          </tbody>
        </table>
        {run.files_left_out > 0 && <p class="quiet">and {run.files_left_out} more</p>}
      </section>
    </div>
  );
}
