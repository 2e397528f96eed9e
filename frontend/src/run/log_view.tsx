// The log of a run: as many lines as are in sight, of however many there are; followed while it grows; searched.
import { useEffect, useRef, useState } from "preact/hooks";
import type { LogFile, LogLine, LogWindow, Problem } from "../api/schema";
import { isAbort, problemOf, source } from "../api/source";
import { Choice, Empty, Loading, ProblemNote, Toggle } from "../parts/basic";
import { useSize } from "../parts/element_size";
import { page, update } from "../state/address";
import { formatCount, formatSize } from "../state/format";
import { useKeys } from "../state/keys";
import { scale } from "../state/scale";
import { isEmpty, touches, useChanges } from "../state/live";

const LINE = 18;
const PAGE_LINES = 200;
// Browsers limit the height of an element: a longer log is scrolled by its share, not line by line.
const MOST_PX = 8_000_000;
const LIVE_MS = 400;

/** Lines of one log that were asked for, by pages. */
class Lines {
  nLines = 0;
  sizeBytes = 0;
  problem: Problem | null = null;
  loaded = false;
  private readonly pages = new Map<number, LogLine[]>();
  private readonly pending = new Set<number>();
  private readonly abort = new AbortController();

  constructor(
    readonly id: string,
    readonly rank: number,
    private readonly redraw: () => void,
  ) {}

  line(at: number): LogLine | undefined {
    return this.pages.get(Math.floor(at / PAGE_LINES))?.[at % PAGE_LINES];
  }

  see(first: number, last: number): void {
    for (let number = Math.floor(first / PAGE_LINES); number <= Math.floor(Math.max(first, last) / PAGE_LINES); number++) {
      const held = this.pages.get(number);
      const full = Math.min(PAGE_LINES, this.nLines - number * PAGE_LINES);
      if (full > 0 && (held?.length ?? 0) < full) void this.load(number);
    }
  }

  /** Ask how long the log is by now; pages that were not full are asked for again when they are in sight. */
  async measure(): Promise<void> {
    await this.ask({ rank: this.rank, lines: 1 }, () => undefined);
  }

  stop(): void {
    this.abort.abort();
  }

  private async load(number: number): Promise<void> {
    if (this.pending.has(number)) return;
    this.pending.add(number);
    await this.ask({ rank: this.rank, from: number * PAGE_LINES + 1, lines: PAGE_LINES }, (window) => this.pages.set(number, window.lines));
    this.pending.delete(number);
  }

  private async ask(query: { rank: number; from?: number; lines: number }, keep: (window: LogWindow) => void): Promise<void> {
    try {
      const window = await source().log(this.id, query, this.abort.signal);
      keep(window);
      // A log that is shorter than before was begun anew.
      if (window.n_lines < this.nLines) this.pages.clear();
      this.nLines = window.n_lines;
      this.sizeBytes = window.size_bytes;
      this.loaded = true;
      this.problem = null;
    } catch (error) {
      if (isAbort(error)) return;
      this.problem = problemOf(error);
    }
    this.redraw();
  }
}

export function LogTab({ id, logs, running }: { id: string; logs: LogFile[]; running: boolean }) {
  const [rank, setRank] = useState(logs[0]?.rank ?? 0);
  if (logs.length === 0) return <Empty title="This run has no log." />;
  return (
    <div class="log">
      <LogPane key={`${id} ${rank}`} id={id} rank={rank} running={running}>
        {logs.length > 1 && (
          <Choice
            label="Process"
            value={String(rank)}
            options={logs.map((log) => [String(log.rank), `rank ${log.rank}`] as const)}
            choose={(value) => setRank(Number(value))}
          />
        )}
      </LogPane>
    </div>
  );
}

function LogPane(props: { id: string; rank: number; running: boolean; children: preact.ComponentChildren }) {
  const [, setTurn] = useState(0);
  const lines = useRef<Lines | null>(null);
  lines.current ??= new Lines(props.id, props.rank, () => setTurn((before) => before + 1));
  const held = lines.current;
  const scroller = useRef<HTMLDivElement>(null);
  const { height } = useSize(scroller);
  const [top, setTop] = useState(0);
  const [follow, setFollow] = useState(props.running);
  const [marked, setMarked] = useState(0);

  const linePx = Math.round(LINE * scale.value);
  const inSight = Math.max(1, Math.floor(height / linePx));
  const lastTop = Math.max(0, held.nLines - inSight);
  const tall = Math.min(MOST_PX, held.nLines * linePx);
  const isScaled = held.nLines * linePx > MOST_PX;
  const first = Math.min(lastTop, Math.max(0, follow ? lastTop : top));

  useEffect(() => {
    void held.measure();
    return () => held.stop();
  }, []);
  useChanges((change) => {
    if (isEmpty(change) || touches(change, [props.id])) void held.measure();
  }, LIVE_MS);
  useEffect(() => held.see(Math.floor(first), Math.min(held.nLines - 1, Math.floor(first) + inSight + 1)));
  const offset = isScaled ? (lastTop > 0 ? (first / lastTop) * (tall - height) : 0) : first * linePx;
  useEffect(() => {
    if (scroller.current && Math.abs(scroller.current.scrollTop - offset) > 1) scroller.current.scrollTop = offset;
  }, [offset, tall, height]);

  const go = (to: number): void => {
    const at = Math.min(lastTop, Math.max(0, to));
    setTop(at);
    setFollow(at >= lastTop && props.running);
  };
  const scrolled = (): void => {
    const at = scroller.current?.scrollTop ?? 0;
    if (Math.abs(at - offset) <= 1) return;
    go(isScaled ? (at / Math.max(1, tall - height)) * lastTop : at / linePx);
  };
  const jump = (number: number): void => {
    setMarked(number);
    go(number - 1 - Math.floor(inSight / 3));
  };
  useKeys([
    { keys: "g g | Home", help: "Begin of the log", run: () => go(0) },
    { keys: "G | End", help: "End of the log", run: () => go(held.nLines) },
    { keys: "PageDown", help: "A page on", run: () => go(first + inSight - 2) },
    { keys: "PageUp", help: "A page back", run: () => go(first - inSight + 2) },
    { keys: "j | ArrowDown", help: "A line on", run: () => go(first + 1) },
    { keys: "k | ArrowUp", help: "A line back", run: () => go(first - 1) },
    { keys: "f", help: "Follow the log", run: () => setFollow((before) => !before) },
    { keys: "/", help: "Search the log", run: () => document.getElementById("log-search")?.focus() },
  ]);

  const shown: number[] = [];
  for (let at = Math.floor(first); at < Math.min(held.nLines, Math.floor(first) + inSight + 2); at++) shown.push(at);
  const digits = String(held.nLines).length;
  return (
    <>
      <div class="toolbar">
        {props.children}
        <LogSearch id={props.id} rank={props.rank} jump={jump} />
        <span class="grow" />
        <span class="counts" role="status">
          {formatCount(held.nLines)} lines, {formatSize(held.sizeBytes)}
        </span>
        <Toggle label="follow" checked={follow} set={setFollow} title="Stay at the end while the log grows (f)" />
        <button type="button" onClick={() => go(0)}>
          Begin
        </button>
        <button type="button" onClick={() => go(held.nLines)}>
          End
        </button>
      </div>
      {held.problem && <ProblemNote problem={held.problem} again={() => void held.measure()} />}
      {!held.loaded && !held.problem && <Loading what="the log" />}
      <div
        class="log-scroll"
        ref={scroller}
        tabIndex={0}
        role="log"
        aria-live="off"
        aria-label="Log"
        onScroll={scrolled}
        onWheel={(event) => {
          if (follow && event.deltaY < 0) setFollow(false);
          if (!isScaled) return;
          event.preventDefault();
          go(first + event.deltaY / linePx);
        }}
      >
        <div class="log-tall" style={{ height: tall }}>
          <div class="log-lines" style={{ lineHeight: `${linePx}px`, transform: `translateY(${isScaled ? offset : Math.floor(first) * linePx}px)` }}>
            {shown.map((at) => (
              <LogText key={at} at={at} line={held.line(at)} digits={digits} marked={marked === at + 1} />
            ))}
          </div>
        </div>
      </div>
    </>
  );
}

function LogText({ at, line, digits, marked }: { at: number; line: LogLine | undefined; digits: number; marked: boolean }) {
  const text = line?.text ?? "";
  return (
    <div class={`log-line ${marked ? "log-marked" : ""} ${levelOf(text)}`}>
      <span class="log-number">{String(at + 1).padStart(digits)}</span>
      <span class="log-text">
        <Found text={text} />
        {line?.cut && <em> … (cut: the line is too long to show)</em>}
      </span>
    </div>
  );
}

function levelOf(text: string): string {
  if (/\b(ERROR|CRITICAL|Traceback|[A-Z]\w*Error:)/.test(text)) return "log-error";
  return /\bWARNING\b/.test(text) ? "log-warning" : "";
}

/** The text with what is searched marked. */
function Found({ text }: { text: string }) {
  const { search } = page.value;
  const at = search ? text.toLowerCase().indexOf(search.toLowerCase()) : -1;
  if (at < 0) return <>{text}</>;
  return (
    <>
      {text.slice(0, at)}
      <mark>{text.slice(at, at + search.length)}</mark>
      <Found text={text.slice(at + search.length)} />
    </>
  );
}

const FOUND_LINES = 50;

function LogSearch({ id, rank, jump }: { id: string; rank: number; jump: (number: number) => void }) {
  const { search } = page.value;
  const [text, setText] = useState(search);
  const [found, setFound] = useState<LogLine[]>([]);
  const [next, setNext] = useState<number | null>(null);
  const [at, setAt] = useState(-1);
  const [said, setSaid] = useState("");
  const turn = useRef(0);

  const ask = async (wanted: string, after: number): Promise<LogLine[]> => {
    const mine = ++turn.current;
    setSaid("searching …");
    try {
      const window = await source().log(id, { rank, search: wanted, after, lines: FOUND_LINES });
      if (mine !== turn.current) return [];
      setNext(window.next);
      setSaid("");
      return window.lines;
    } catch (error) {
      setSaid(problemOf(error).message);
      return [];
    }
  };
  const begin = async (): Promise<void> => {
    update({ search: text });
    setFound([]);
    setAt(-1);
    if (text === "") return;
    const lines = await ask(text, 0);
    setFound(lines);
    if (lines.length === 0) setSaid((before) => before || "not found");
    else {
      setAt(0);
      jump(lines[0]!.number);
    }
  };
  const step = async (by: number): Promise<void> => {
    let known = found;
    if (by > 0 && at + 1 >= known.length && next !== null) {
      known = [...known, ...(await ask(search, next))];
      setFound(known);
    }
    const to = at + by;
    if (to < 0 || to >= known.length) return;
    setAt(to);
    jump(known[to]!.number);
  };
  useEffect(() => {
    if (search) void begin();
  }, []);
  useKeys([
    { keys: "n", help: "Next place found", run: () => void step(1) },
    { keys: "N", help: "Place found before", run: () => void step(-1) },
  ]);
  return (
    <form
      class="log-search"
      onSubmit={(event) => {
        event.preventDefault();
        // The same text again goes on to the next place, as in an editor.
        if (text === search && found.length > 0) void step(1);
        else void begin();
      }}
    >
      <input
        type="search"
        id="log-search"
        aria-label="Search the log"
        placeholder="Search the log"
        value={text}
        onInput={(event) => setText(event.currentTarget.value)}
      />
      {found.length > 0 && (
        <>
          <span class="counts" role="status">
            {at + 1} of {found.length}
            {next !== null && "+"}
          </span>
          <button type="button" aria-label="Place found before" disabled={at <= 0} onClick={() => void step(-1)}>
            ↑
          </button>
          <button type="button" aria-label="Next place found" disabled={at + 1 >= found.length && next === null} onClick={() => void step(1)}>
            ↓
          </button>
        </>
      )}
      {said && <span class="quiet">{said}</span>}
    </form>
  );
}
