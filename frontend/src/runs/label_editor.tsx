// Tags and the note of a run.
import { useEffect, useRef, useState } from "preact/hooks";
import type { Labels, Problem, RunPage } from "../api/schema";
import { problemOf, source } from "../api/source";
import { Dialog, Loading, ProblemNote } from "../parts/basic";
import { useAnswer } from "../parts/use_answer";
import { shortId } from "../state/format";

export function LabelEditor(props: { id: string; close: () => void; saved: (labels: Labels) => void }) {
  // Asked anew: what was given at the start of the run stays, and the table does not tell it from the rest.
  const answer = useAnswer<RunPage>((signal) => source().run(props.id, signal), [props.id]);
  return (
    <Dialog title={`Tags and note of ${shortId(props.id)}`} close={props.close} class="label-editor">
      {answer.problem && <ProblemNote problem={answer.problem} again={answer.again} />}
      {answer.value ? <LabelForm {...props} run={answer.value} /> : <Loading what="labels" />}
    </Dialog>
  );
}

function LabelForm(props: { run: RunPage; close: () => void; saved: (labels: Labels) => void }) {
  const { run } = props;
  const given = run.given_tags;
  const [tags, setTags] = useState(run.tags.filter((tag) => !given.includes(tag)));
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => field.current?.focus(), []);
  const [typed, setTyped] = useState("");
  const [note, setNote] = useState(run.note);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [saving, setSaving] = useState(false);
  const withTyped = (): string[] => [...new Set([...tags, ...typed.split(",").map((tag) => tag.trim()).filter((tag) => tag !== "")])];
  const add = (): void => {
    setTags(withTyped());
    setTyped("");
  };
  const save = async (): Promise<void> => {
    setSaving(true);
    try {
      const changes = note === run.note ? { tags: withTyped() } : { tags: withTyped(), note };
      props.saved(await source().saveLabels(run.id, changes));
      props.close();
    } catch (error) {
      setProblem(problemOf(error));
      setSaving(false);
    }
  };
  return (
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void save();
        }}
      >
        <label for="new-tag">Tags</label>
        <div class="tag-field">
          {given.map((tag) => (
            <span class="tag" key={tag} title="Given when the run was started">
              {tag}
            </span>
          ))}
          {tags.map((tag) => (
            <span class="tag" key={tag}>
              {tag}
              <button type="button" class="plain" aria-label={`Remove the tag ${tag}`} onClick={() => setTags(tags.filter((other) => other !== tag))}>
                ✕
              </button>
            </span>
          ))}
          <input
            id="new-tag"
            ref={field}
            placeholder="add a tag"
            value={typed}
            onInput={(event) => setTyped(event.currentTarget.value)}
            onKeyDown={(event) => {
              if (event.key === "," || (event.key === "Enter" && typed.trim() !== "")) {
                event.preventDefault();
                add();
              } else if (event.key === "Backspace" && typed === "") setTags(tags.slice(0, -1));
            }}
          />
        </div>
        <label for="run-note">Note</label>
        {run.given_note && (
          <p class="quiet" title="Given when the run was started">
            {run.given_note}
          </p>
        )}
        <textarea id="run-note" rows={5} value={note} onInput={(event) => setNote(event.currentTarget.value)} />
        {problem && <ProblemNote problem={problem} />}
        <footer>
          <button type="button" onClick={props.close}>
            Cancel
          </button>
          <button type="submit" class="main" disabled={saving}>
            Save
          </button>
        </footer>
      </form>
  );
}
