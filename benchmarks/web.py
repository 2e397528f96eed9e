"""What the page costs: to a usable table, curves, a long log, memory; TensorBoard and MLflow beside it.

See README.md in this folder. Exit code 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

from benchmarks.startup import CACHE_DIR  # noqa: E402
from benchmarks.store import MLFLOW_SIZES, SORT, WHERE, make_mlflow, make_runs  # noqa: E402

RUNS, POINTS_RUNS, POINTS = 10_000, 50, 100_000
LOG_BYTES = 100 * 2**20
TABLE_USABLE_S, TABLE_CALL_S = 1.5, 0.05
SERIES_COLD_S, SERIES_WARM_S = 3.0, 0.3
LOG_S = 0.5
MOST_MIB, MOST_BUNDLE_BYTES = 300.0, 700_000
# A frame that takes longer is felt.
FRAME_S = 0.05
LIMIT_S = 120.0
TAG = "train/loss"
STATIC = ROOT / "src" / "pystematic" / "web" / "static"

EVENTS = """
import os, sys
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter
path, count = sys.argv[1], int(sys.argv[2])
os.makedirs(os.path.dirname(path), exist_ok=True)
with open(path, "wb") as file:
    writer = RecordWriter(file)
    writer.write(Event(wall_time=1.7e9, file_version="brain.Event:2").SerializeToString())
    for step in range(count):
        value = Summary.Value(tag="train/loss", simple_value=1 / (1 + step % 1000))
        writer.write(Event(wall_time=1.7e9 + step, step=step, summary=Summary(value=[value])).SerializeToString())
"""


# -- what is looked at -----------------------------------------------------------------------------------------------


def make_series() -> Path:
    """Make runs with many points of one tag."""
    from pystematic import rundir

    folder = CACHE_DIR / "web-series"
    if (folder / "done").exists():
        return folder / "output"
    shutil.rmtree(folder, ignore_errors=True)
    for number in range(POINTS_RUNS):
        run_dir = rundir.RunDir(folder / "output" / "train" / f"2026-01-01_00-00-{number:02}_run{number:03}")
        run_dir.path.mkdir(parents=True)
        draw, value = random.Random(number), 0.0
        formatter = rundir.ScalarFormatter()
        with open(run_dir.metrics_file(), "wb") as file:
            for start in range(0, POINTS, 10_000):
                steps = list(range(start, start + 10_000))
                values = [value := value + draw.gauss(0, 1) for _ in steps]
                file.write(
                    formatter.format(([TAG] * len(steps), steps, [1.7e9 + step * 1e-2 for step in steps], values))
                )
        rundir.write_document(run_dir.summary_file, rundir.summarize(run_dir))
        rundir.write_document(
            run_dir.run_file,
            {
                "schema": 1,
                "id": run_dir.id,
                "experiment": "train",
                "status": "completed",
                "started_at": rundir.format_time(1.7e9 + number),
                "ended_at": rundir.format_time(1.7e9 + 1000),
            },
        )
    (folder / "done").touch()
    return folder / "output"


def make_log() -> Path:
    """Make a run with a long log."""
    from pystematic import rundir

    folder = CACHE_DIR / "web-log"
    if (folder / "done").exists():
        return folder / "output"
    shutil.rmtree(folder, ignore_errors=True)
    run_dir = rundir.RunDir(folder / "output" / "train" / "2026-01-01_00-00-00_logged")
    run_dir.path.mkdir(parents=True)
    with open(run_dir.log_file(), "w", encoding="ascii") as file:
        number = 0
        while file.tell() < LOG_BYTES:
            number += 10_000
            file.write(
                "".join(f"2026-01-01 00:00:00.000 step {i} loss {1 / i:.6f}\n" for i in range(number, number + 10_000))
            )
        file.write("2026-01-01 00:00:00.000 the needle\n")
    rundir.write_document(
        run_dir.run_file, {"schema": 1, "id": run_dir.id, "experiment": "train", "status": "completed"}
    )
    (folder / "done").touch()
    return folder / "output"


# -- the server ------------------------------------------------------------------------------------------------------


class Server:
    """`pystematic ui` in a process of its own."""

    def __init__(self, folder: Path, cache: Path) -> None:
        env = {**os.environ, "XDG_CACHE_HOME": str(cache)}
        command = [sys.executable, "-m", "pystematic", "ui", str(folder), "--no-browser"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env)
        assert self.process.stderr is not None
        printed = ""
        while not printed.endswith("Ctrl-C ends it.\n"):
            line = self.process.stderr.readline()
            if not line:
                raise SystemExit(f"the server has ended: {printed}")
            printed += line
        found = re.search(r"http://127\.0\.0\.1:(\d+)/\?token=\S+", printed)
        assert found
        self.address, self.port = found[0], int(found[1])
        self._cookie = ""

    def let_in(self) -> None:
        target = self.address.partition(str(self.port))[2]
        self._cookie = self._ask("GET", target).headers["set-cookie"].partition(";")[0]

    def ask(self, method: str, target: str, body: object = None) -> bytes:
        """Return the body of an answer.

        Raises:
            SystemExit: it is an error.
        """
        answer = self._ask(method, target, body)
        content = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{target} is answered with {answer.status}: {content[:500]!r}")
        return content

    def _ask(self, method: str, target: str, body: object = None) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT_S)
        headers = {"cookie": self._cookie, "content-type": "application/json"}
        connection.request(method, target, None if body is None else json.dumps(body), headers)
        return connection.getresponse()

    def peak_mib(self) -> float:
        """Return the most memory that the server has used so far, as the system counts it."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        return int(found[1]) / 1024 if found else 0.0

    def end(self) -> float:
        """End it by Ctrl-C; return how long that took."""
        began = time.perf_counter()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(LIMIT_S)
        return time.perf_counter() - began


@contextlib.contextmanager
def _started(folder: Path, cache: Path) -> Iterator[Server]:
    server = Server(folder, cache)
    try:
        yield server
    finally:
        server.end()


@contextlib.contextmanager
def served(folder: Path, cache: Path) -> Iterator[Server]:
    """Start a server that lets us in, and end it."""
    with _started(folder, cache) as server:
        server.let_in()
        yield server


def timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


# -- measuring -------------------------------------------------------------------------------------------------------


class Figures:
    """What was measured, and which targets were missed."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}
        self.missed: list[str] = []

    def add(self, name: str, value: float, unit: str, most: float | None = None) -> None:
        self.values[f"{name} {unit}"] = value
        limit = "" if most is None else f" (at most {most:g})"
        print(f"{name:<44} {value:10.3f} {unit}{limit}", flush=True)
        if most is not None and value > most:
            self.missed.append(f"{name}: {value:.3f} {unit}, at most {most:g}")


def measure_table(rounds: int, figures: Figures) -> None:
    """Measure the table of many runs, with the index warm: the server's calls, and in a browser from the command on."""
    folder, cache = make_runs(RUNS), CACHE_DIR / "web-cache"
    with served(folder, cache) as server:  # makes the index
        server.ask("GET", "/api/table")
    first, calls, windows, groups = [], [], [], []
    for number in range(rounds):
        began = time.perf_counter()
        with served(folder, cache) as server:
            for target in ("/api/session", "/api/columns", "/api/table"):
                server.ask("GET", target)
            first.append(time.perf_counter() - began)
            query = urllib.parse.urlencode({"where": f"{WHERE} and params.batch_size > {number}", "sort": SORT})
            calls.append(timed(lambda: server.ask("GET", f"/api/table?{query}")))  # noqa: B023
            windows += [timed(lambda: server.ask("GET", f"/api/table?{query}&offset=100")) for _ in range(5)]  # noqa: B023
            groups.append(timed(lambda: server.ask("GET", "/api/table?group_by=params.option_1")))
    figures.add("command to the first table, without a browser", statistics.median(first), "s", TABLE_USABLE_S)
    figures.add("a new filter and order", statistics.median(calls), "s", TABLE_CALL_S)
    figures.add("another window of the same", statistics.median(windows), "s", TABLE_CALL_S)
    figures.add("all as one group", statistics.median(groups), "s")


def measure_browser(rounds: int, figures: Figures) -> None:
    """Measure what a person waits for, in Chromium that runs already."""
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        print("no browser: playwright is not installed")
        return
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        print("no browser: there is no Chromium")
        return
    options = ["--disable-dev-shm-usage", *(["--no-sandbox"] if os.getuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=options)
        usable, drawn, frames = [], [], []
        for _ in range(rounds):
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            began = time.perf_counter()
            with _started(make_runs(RUNS), CACHE_DIR / "web-cache") as server:
                page.goto(server.address)
                _wait(page, ROWS_SHOWN)
                usable.append(time.perf_counter() - began)
                page.close()
        with _started(make_series(), CACHE_DIR / "web-cache-series") as server:
            for _ in range(rounds):
                page = browser.new_page(viewport={"width": 1280, "height": 800})
                page.goto(server.address)
                _wait(page, ROWS_SHOWN)
                began = time.perf_counter()
                page.goto(f"http://127.0.0.1:{server.port}/#/curves?{_all_runs()}")
                _wait(page, CURVES_DRAWN)
                drawn.append(time.perf_counter() - began)
                frames += _frames(page)
                page.close()
        browser.close()
    figures.add("command to a usable table in the browser", statistics.median(usable), "s", TABLE_USABLE_S)
    figures.add(f"{POINTS_RUNS} curves drawn, series warm", statistics.median(drawn), "s")
    figures.add("a frame with the pointer moving over them", statistics.median(frames), "s", FRAME_S)
    figures.add("the slowest 5 % of such frames", sorted(frames)[int(len(frames) * 0.95)], "s")


ROWS_SHOWN = "() => [...document.querySelectorAll('[role=row], tbody tr')].filter(row => row.textContent).length > 10"
# A canvas with something on it.
CURVES_DRAWN = """() => [...document.querySelectorAll('canvas')].some(canvas => {
    if (!canvas.width || !canvas.height) return false;
    const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    const colours = new Set();
    for (let i = 0; i < data.length; i += 400) {
        if (data[i + 3] > 0) colours.add([data[i], data[i + 1], data[i + 2]].join());
    }
    return colours.size > 5;
})"""
FRAMES = """() => new Promise(resolve => {
    const times = [];
    let last = performance.now();
    const step = now => {
        times.push((now - last) / 1000);
        last = now;
        times.length < 60 ? requestAnimationFrame(step) : resolve(times);
    };
    requestAnimationFrame(step);
})"""


def _wait(page: Any, script: str) -> None:
    """Wait until a function holds in the page; Playwright's own way is refused by the page's policy."""
    deadline = time.monotonic() + LIMIT_S
    while not page.evaluate(script):
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {LIMIT_S:g} s: {script}")
        page.wait_for_timeout(5)


def _all_runs() -> str:
    names = sorted(f"train/{path.name}" for path in (make_series() / "train").iterdir())
    return "&".join(f"run={urllib.parse.quote(name, safe='')}" for name in names)


def _frames(page: Any) -> list[float]:
    """Return how long frames take while the pointer moves over the first chart."""
    box = page.locator("canvas").first.bounding_box()
    page.evaluate(f"() => {{ window.frames_measured = ({FRAMES})() }}")
    for number in range(40):
        page.mouse.move(box["x"] + box["width"] * (0.2 + number / 80), box["y"] + box["height"] / 2)
    frames: list[float] = page.evaluate("() => window.frames_measured")
    return frames[1:]


def measure_series(rounds: int, figures: Figures) -> None:
    """Measure many points of one tag: parsed for the first time, read from the cache, kept in memory."""
    folder, cache = make_series(), CACHE_DIR / "web-cache-series"
    names = sorted(f"train/{path.name}" for path in (folder / "train").iterdir())
    request = {"runs": names, "tag": TAG, "buckets": 1000}
    cold, warm, kept, zoomed, smoothed, bands = [], [], [], [], [], []
    for _ in range(rounds):
        shutil.rmtree(cache, ignore_errors=True)
        with served(folder, cache) as server:
            cold.append(timed(lambda: server.ask("POST", "/api/series", request)))
        with served(folder, cache) as server:
            warm.append(timed(lambda: server.ask("POST", "/api/series", request)))
            kept.append(timed(lambda: server.ask("POST", "/api/series", request)))
            part = {**request, "from": 40_000, "to": 45_000}
            zoomed.append(timed(lambda: server.ask("POST", "/api/series", part)))  # noqa: B023
            smooth = {**request, "smoothing": 0.9}
            smoothed.append(timed(lambda: server.ask("POST", "/api/series", smooth)))  # noqa: B023
            of_all = {"groups": [{"key": "all", "runs": names}], "tag": TAG, "buckets": 1000}
            bands.append(timed(lambda: server.ask("POST", "/api/bands", of_all)))  # noqa: B023
            figures.values["series peak MiB"] = server.peak_mib()
    what = f"{POINTS_RUNS} runs of {POINTS:,} points"
    figures.add(f"{what}, first call", statistics.median(cold), "s", SERIES_COLD_S)
    figures.add(f"{what}, by a new server", statistics.median(warm), "s")
    figures.add(f"{what}, warm", statistics.median(kept), "s", SERIES_WARM_S)
    figures.add("zoomed in", statistics.median(zoomed), "s", SERIES_WARM_S)
    figures.add("with smoothing", statistics.median(smoothed), "s")
    figures.add("mean and band of all", statistics.median(bands), "s")
    figures.add("memory of the server, series", figures.values["series peak MiB"], "MiB", MOST_MIB)


def measure_log(rounds: int, figures: Figures) -> None:
    """Measure a long log: its end by a server that has not seen it, some lines of its middle, a search."""
    folder = make_log()
    name = urllib.parse.quote(f"train/{next((folder / 'train').iterdir()).name}", safe="")
    opened, middle, search = [], [], []
    for _ in range(rounds):
        with served(folder, CACHE_DIR / "web-cache") as server:
            address = f"/api/runs/{name}/log"
            opened.append(timed(lambda: server.ask("GET", address)))  # noqa: B023
            middle.append(timed(lambda: server.ask("GET", f"{address}?from=1000000")))  # noqa: B023
            search.append(timed(lambda: _search(server, address)))  # noqa: B023
            peak = server.peak_mib()
    figures.add("a log of 100 MiB opened", statistics.median(opened), "s", LOG_S)
    figures.add("lines of its middle", statistics.median(middle), "s", LOG_S)
    figures.add("a word of its last line found", statistics.median(search), "s")
    figures.add("memory of the server, log", peak, "MiB", MOST_MIB)


def _search(server: Server, address: str) -> None:
    after: int | None = 0
    while after is not None:
        found = json.loads(server.ask("GET", f"{address}?search=needle&after={after}"))
        if found["lines"]:
            return
        after = found["next"]
    raise SystemExit("the needle was not found")


def measure_memory(figures: Figures) -> None:
    """Measure the memory of one server that was asked for everything about many runs."""
    with served(make_runs(RUNS), CACHE_DIR / "web-cache") as server:
        for target in (
            "columns",
            "table?limit=10000",
            f"table?{urllib.parse.urlencode({'where': WHERE, 'sort': SORT})}",
        ):
            server.ask("GET", f"/api/{target}")
        names = [row["id"] for row in json.loads(server.ask("GET", "/api/table?limit=200"))["rows"]]
        server.ask("POST", "/api/series", {"runs": names, "tag": TAG})
        server.ask("POST", "/api/compare", {"runs": names})
        figures.add(f"memory of the server, {RUNS:,} runs", server.peak_mib(), "MiB", MOST_MIB)


def measure_bundle(figures: Figures) -> None:
    """Measure what a browser loads."""
    files = [path for path in STATIC.rglob("*") if path.is_file() and not path.name.startswith("report.")]
    size = sum(len(gzip.compress(path.read_bytes())) for path in files)
    figures.add("the page, compressed", size / 1000, "kB", MOST_BUNDLE_BYTES / 1000)


# -- others ----------------------------------------------------------------------------------------------------------


def measure_tensorboard(figures: Figures) -> None:
    """Measure the same of TensorBoard, without its page: until its server lists all runs, and a call for all curves."""
    for name, runs, points in (("series", POINTS_RUNS, POINTS), ("runs", RUNS, 10)):
        logdir = _make_events(name, runs, points)
        _measure_tensorboard(figures, logdir, runs, name, [])
        if name == "series":
            options = ["--samples_per_plugin", f"scalars={POINTS}"]
            _measure_tensorboard(figures, logdir, runs, "all points kept", options)


def _make_events(name: str, runs: int, points: int) -> Path:
    folder = CACHE_DIR / "web-tensorboard"
    logdir = folder / name
    if not (folder / f"{name}.done").exists():
        shutil.rmtree(logdir, ignore_errors=True)
        first = logdir / "run-00000" / "events.out.tfevents.1700000000.host.1"
        subprocess.run([sys.executable, "-c", EVENTS, str(first), str(points)], check=True)
        for number in range(1, runs):
            (logdir / f"run-{number:05}").mkdir()
            shutil.copyfile(first, logdir / f"run-{number:05}" / first.name)
        (folder / f"{name}.done").touch()
    return logdir


def _measure_tensorboard(figures: Figures, logdir: Path, runs: int, name: str, options: Sequence[str]) -> None:
    port = _free_port()
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logdir), "--port", str(port), *options]
    began = time.perf_counter()
    with _process(command) as process:
        if _wait_for(port, "/data/plugin/scalars/tags", lambda answer: len(answer) == runs) is None:
            print(f"TensorBoard has not listed {runs:,} runs within {LIMIT_S:g} s")
            return
        figures.add(f"TensorBoard ({name}): to a list of {runs:,} runs", time.perf_counter() - began, "s")
        if runs == POINTS_RUNS:
            figures.add(f"TensorBoard ({name}): {runs} curves", _tensorboard_curves(port, runs), "s")
        figures.add(f"TensorBoard ({name}): memory", _tree_mib(process.pid), "MiB")


def _tensorboard_curves(port: int, runs: int) -> float:
    def ask() -> None:
        for number in range(runs):
            query = urllib.parse.urlencode({"run": f"run-{number:05}", "tag": TAG})
            _get(port, f"/data/plugin/scalars/scalars?{query}")

    return timed(ask)


def measure_mlflow(figures: Figures) -> None:
    """Measure the same of MLflow, without its page: until its server answers a filter and an order over all runs."""
    if RUNS not in MLFLOW_SIZES:
        return
    make_mlflow(RUNS)
    port = _free_port()
    uri = f"sqlite:///{CACHE_DIR / f'mlflow-{RUNS}' / 'mlflow.db'}"
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, "--port", str(port), "--workers", "1"]
    body = {
        "experiment_ids": ["0", "1"],
        "filter": "metrics.lr > 0.01 and metrics.accuracy > 0.9",
        "order_by": ["metrics.accuracy DESC"],
        "max_results": 200,
    }
    began = time.perf_counter()
    with _process(command) as process:
        target = "/api/2.0/mlflow/runs/search"
        found = _wait_for(port, target, lambda answer: bool(answer.get("runs")), body)
        if found is None:
            print(f"MLflow has not answered within {LIMIT_S:g} s")
            return
        figures.add("MLflow: command to the first answer", time.perf_counter() - began, "s")
        calls = [timed(lambda: _get(port, target, body)) for _ in range(3)]
        figures.add("MLflow: a filter and order", statistics.median(calls), "s")
        figures.add("MLflow: memory", _tree_mib(process.pid), "MiB")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


@contextlib.contextmanager
def _process(command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    env = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env, start_new_session=True
    )
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _get(port: int, target: str, body: object = None) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
    try:
        if body is None:
            connection.request("GET", target)
        else:
            connection.request("POST", target, json.dumps(body), {"content-type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
        return json.loads(content) if answer.status == 200 else {}
    finally:
        connection.close()


def _wait_for(port: int, target: str, holds: Callable[[Any], bool], body: object = None) -> Any:
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        try:
            answer = _get(port, target, body)
            if holds(answer):
                return answer
        except (OSError, http.client.HTTPException, ValueError):
            pass
        time.sleep(0.05)
    return None


def _tree_mib(pid: int) -> float:
    """Return the memory of a process and all that it has started, now."""
    import psutil

    process = psutil.Process(pid)
    return sum(one.memory_info().rss for one in [process, *process.children(recursive=True)]) / 2**20


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="turns of each measurement (default: 5)")
    parser.add_argument("--only", choices=["pystematic"], help="leave TensorBoard and MLflow out")
    parser.add_argument("--json", type=Path, help="write the figures there")
    args = parser.parse_args()
    figures = Figures()
    print(f"load of the machine: {os.getloadavg()[0]:.1f} of {os.cpu_count()} cores", flush=True)
    measure_bundle(figures)
    measure_table(args.rounds, figures)
    measure_series(args.rounds, figures)
    measure_log(args.rounds, figures)
    measure_memory(figures)
    measure_browser(args.rounds, figures)
    if args.only is None:
        measure_tensorboard(figures)
        measure_mlflow(figures)
    print(f"load of the machine: {os.getloadavg()[0]:.1f} of {os.cpu_count()} cores", flush=True)
    if args.json is not None:
        args.json.write_text(json.dumps(figures.values, indent=1) + "\n")
    print("\n".join(f"missed: {line}" for line in figures.missed) or "all targets met")
    return 1 if figures.missed else 0


if __name__ == "__main__":
    sys.exit(main())
