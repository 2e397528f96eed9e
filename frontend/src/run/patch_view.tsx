// The uncommitted changes that a run was started with, as a diff.
import type { Patch } from "../api/schema";
import { source } from "../api/source";
import { Loading, ProblemNote } from "../parts/basic";
import { useAnswer } from "../parts/use_answer";
import { formatSize } from "../state/format";

interface DiffFile {
  name: string;
  lines: string[];
  added: number;
  removed: number;
}

export function PatchView({ id }: { id: string }) {
  const answer = useAnswer<Patch>((signal) => source().patch(id, signal), [id]);
  if (answer.problem) return <ProblemNote problem={answer.problem} again={answer.again} />;
  if (!answer.value) return <Loading what="the patch" />;
  const { text, cut, url, size_bytes } = answer.value;
  const files = splitFiles(text);
  return (
    <div class="patch">
      {cut && (
        <p class="note">
          Only a part of {formatSize(size_bytes)} is shown. {url && <a href={url}>All of it</a>}
        </p>
      )}
      {files.map((file) => (
        <details key={file.name} open={files.length <= 20}>
          <summary>
            <code>{file.name}</code> <span class="diff-added">+{file.added}</span> <span class="diff-removed">−{file.removed}</span>
          </summary>
          <pre>
            {file.lines.map((line, at) => (
              <div key={at} class={classOf(line)}>
                {line || " "}
              </div>
            ))}
          </pre>
        </details>
      ))}
    </div>
  );
}

function splitFiles(text: string): DiffFile[] {
  const files: DiffFile[] = [];
  for (const line of text.replace(/\n$/, "").split("\n")) {
    const begin = /^diff --git a\/(.*) b\/(.*)$/.exec(line);
    if (begin || files.length === 0) files.push({ name: begin?.[2] ?? "source.patch", lines: [], added: 0, removed: 0 });
    const file = files.at(-1)!;
    file.lines.push(line);
    if (isAdded(line)) file.added++;
    if (isRemoved(line)) file.removed++;
  }
  return files;
}

const isAdded = (line: string): boolean => line.startsWith("+") && !line.startsWith("+++ ");
const isRemoved = (line: string): boolean => line.startsWith("-") && !line.startsWith("--- ");

function classOf(line: string): string {
  if (isAdded(line)) return "diff-line diff-added";
  if (isRemoved(line)) return "diff-line diff-removed";
  if (line.startsWith("@@")) return "diff-line diff-hunk";
  return /^(diff |index |new |deleted |\+\+\+ |--- )/.test(line) ? "diff-line diff-head" : "diff-line";
}
