"""The page: strangers, names that lead out, markup in every text, damage, signals. The real server, over sockets."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from faults._harness import Place, Process, expect, last_line, run_dirs, wait_until

# Records something of every kind; every text that a run can have is the one given.
PROGRAM = """
    import sys
    import pystematic

    TEXT = sys.argv.pop()

    @pystematic.parameter("text", type=str, default=TEXT)
    @pystematic.parameter("texts", type=list[str], default=[TEXT])
    @pystematic.experiment(metric="loss:min")
    def train(parameters, context):
        print(TEXT)
        recorder = context.recorder
        for step in range(300):
            recorder.scalar("loss", 1 / (1 + step), step=step)
            recorder.scalar(TEXT, step, step=step)
        recorder.text(TEXT, TEXT, step=1)
        recorder.table(TEXT, [{TEXT: TEXT, "b": 1}], step=1)
        recorder.histogram(TEXT, [1.0, 2.0, 2.0], step=1)
        with open("evil.html", "w") as file:
            file.write(TEXT)
        recorder.artifact("evil.html")
        recorder.artifact("evil.html", name=TEXT.replace("/", "_")[:50] + ".svg")
        if "fail" in parameters["text"]:
            raise ValueError(TEXT)

    if __name__ == "__main__":
        pystematic.global_entrypoint()
"""

MARKUP = (
    "<script>window.pwned=1;alert(1)</script>",
    "</script></style></title><img src=x onerror='window.pwned=2;alert(2)'>",
    "\"'><svg onload=window.pwned=3;alert(3)>",
    "javascript:window.pwned=4;alert(4)",
    "<iframe srcdoc=\"<script>parent.pwned=5;alert(5)</script>\"></iframe>{{constructor.constructor('alert(6)')()}}",
)
LIMIT_S = 20.0
AT_ONCE_S = 3.0
ROUTES = """
import json, os, tempfile
from pystematic.web._api import Api
from pystematic.web._app import make_routes
routes = make_routes(Api(tempfile.gettempdir()))
print(json.dumps([[sorted(route.methods - {"HEAD"})[0], route.path] for route in routes]))
"""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


class Server:
    """`pystematic ui` over the output folder."""

    def __init__(self, place: Place, *words: str) -> None:
        self.place = place
        place.output_dir.mkdir(exist_ok=True)
        self.process: Process = place.start("-m", "pystematic", "ui", "output", "--no-browser", *words, DISPLAY="")
        printed = self.process.stem.with_suffix(".err")

        def is_there() -> bool:
            return "Ctrl-C ends it." in printed.read_text() or self.process.popen.poll() is not None

        expect(wait_until(is_there, LIMIT_S), "the server has printed no address")
        found = re.search(r"http://127\.0\.0\.1:(\d+)/\?token=(\S+)", printed.read_text())
        expect(found is not None, f"the server has printed no address: {last_line(printed.read_text())}")
        assert found is not None
        self.port, self.token = int(found[1]), found[2]
        self.cookie = ""

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def let_in(self) -> None:
        answer = self.ask("GET", f"/?token={self.token}")
        expect(answer.status == 303, f"the token is answered with {answer.status}")
        self.cookie = answer.headers["set-cookie"].partition(";")[0]

    def ask(self, method: str, target: str, body: bytes = b"", **headers: str) -> Answer:
        """Send a request as it stands, over a socket of its own."""
        sent = {"Host": self.host, "Connection": "close", "Cookie": self.cookie}
        if body or method == "POST":
            sent.update({"Content-Type": "application/json", "Content-Length": str(len(body))})
        sent.update({name.replace("_", "-"): value for name, value in headers.items()})
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items()), "", ""]
        with socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT_S) as connection:
            connection.sendall("\r\n".join(lines).encode("latin-1") + body)
            response = http.client.HTTPResponse(connection, method=method)
            response.begin()
            found = {name.lower(): value for name, value in response.getheaders()}
            is_stream = found.get("content-type", "").startswith("text/event-stream")
            return Answer(response.status, found, b"" if is_stream else response.read())

    def get(self, target: str) -> object:
        answer = self.ask("GET", target)
        expect(answer.status == 200, f"{target} is answered with {answer.status}: {answer.body[:200]!r}")
        return json.loads(answer.body)

    def routes(self) -> Iterator[tuple[str, str]]:
        """Yield every route of the table, as a request."""
        ended = self.place.run("-c", ROUTES)
        expect(ended.code == 0, f"the routes cannot be listed: {last_line(ended.stderr)}")
        for method, path in json.loads(ended.stdout):
            target = path.replace("{id}", "train%2Frun").replace("{name}", "study").replace("{path:path}", "index.html")
            yield method, target


def _check_guarded(answer: Answer, what: str) -> None:
    policy = answer.headers.get("content-security-policy", "")
    expect("default-src 'none'" in policy, f"{what} has the policy {policy!r}")
    expect("frame-ancestors 'none'" in policy and "unsafe" not in policy, f"{what} has the policy {policy!r}")
    expect(answer.headers.get("x-content-type-options") == "nosniff", f"{what} may be sniffed")
    expect(answer.headers.get("referrer-policy") == "no-referrer", f"{what} sends referrers")
    shared = [name for name in answer.headers if name.startswith("access-control-")]
    expect(not shared, f"{what} lets other origins read: {shared}")


# -- strangers -------------------------------------------------------------------------------------------------------


def strangers(place: Place) -> None:
    """Ask every route without the token, by another host, from another origin, with another type of content."""
    server = Server(place)
    routes = list(server.routes())
    expect(len(routes) > 15, f"only {len(routes)} routes")
    for method, target in routes:
        for cookie in ("", f"pystematic-{server.port}=x", f"pystematic-{server.port}={server.token}"):
            answer = server.ask(method, target, Cookie=cookie)
            expect(answer.status == 401, f"{target} without the cookie is answered with {answer.status}")
            _check_guarded(answer, target)
    server.let_in()
    refused = (
        {"Host": "evil.example"},
        {"Host": f"evil.example:{server.port}"},
        {"Host": f"127.0.0.1.nip.io:{server.port}"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"},
        {"Sec_Fetch_Site": "same-site"},
    )
    for method, target in routes:
        for headers in refused:
            answer = server.ask(method, target, **headers)
            expect(answer.status == 403, f"{target} with {headers} is answered with {answer.status}")
            _check_guarded(answer, f"{target} with {headers}")
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
            if method == "POST":
                answer = server.ask(method, target, b"{}", Content_Type=kind)
                expect(answer.status == 415, f"{target} of type {kind!r} is answered with {answer.status}")
                _check_guarded(answer, target)
        _check_guarded(server.ask(method, target, b"{}" if method == "POST" else b""), target)
    for method in ("OPTIONS", "PUT", "DELETE"):
        _check_guarded(server.ask(method, "/api/table", b"{}"), method)
    _check_addresses(server)


def _check_addresses(server: Server) -> None:
    """Check where the server listens, by the tables of the system."""
    inodes = set()
    folder = f"/proc/{server.process.popen.pid}/fd"
    for name in os.listdir(folder):
        with contextlib.suppress(OSError):
            inodes.add(os.readlink(os.path.join(folder, name)))
    listening = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(FileNotFoundError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                    listening.add(fields[1].partition(":")[0])
    loopback = {"0100007F", "00000000000000000000000001000000"}
    expect(listening <= loopback and "0100007F" in listening, f"the server listens at {listening}")


# -- names that lead out ---------------------------------------------------------------------------------------------


def paths(place: Place) -> None:
    """Ask for files outside of the runs, by names of every kind, and through links."""
    program = place.write("prog.py", PROGRAM)
    expect(place.run(program, "train", "plain text").code == 0, "the run failed")
    (run,) = run_dirs(place.output_dir)
    secret = place.write("secret.txt", "the secret")
    (place.output_dir / "secret.txt").write_text("the secret")
    (run / "link.txt").symlink_to(secret)
    (run / "folder").symlink_to(place.folder, target_is_directory=True)
    (run / "log.rank-1.txt").symlink_to(secret)
    (run / "source.patch").unlink(missing_ok=True)
    (run / "source.patch").symlink_to(secret)
    elsewhere = place.folder / "elsewhere" / "train" / "2026-01-01_00-00-00_aaaaaa"
    shutil.copytree(run, elsewhere, symlinks=True)
    (elsewhere / "secret.txt").write_text("the secret")
    (place.output_dir / "train" / "linked").symlink_to(elsewhere, target_is_directory=True)
    server = Server(place)
    server.let_in()
    here = urllib.parse.quote(f"train/{run.name}", safe="")
    ups = ("../", "..%2f", "%2e%2e/", "%2e%2e%2f", "..%5c", "....//", "..%252f", "./../", "%00../", "..%c0%af", "..;/")
    targets = [f"/files/{here}/{up * count}secret.txt" for up in ups for count in (1, 2, 3, 4)]
    targets += [f"/{up * count}secret.txt" for up in ups for count in (1, 2, 3, 6)]
    targets += [f"/{up * 8}etc/passwd" for up in ups] + [f"/files/{here}/{up * 8}etc/passwd" for up in ups]
    targets += [f"/files/{up}{up}/secret.txt" for up in ups] + [f"/files/{here}{up}{up}/secret.txt" for up in ups]
    targets += [f"/files/{here}/{name}" for name in ("link.txt", "folder/secret.txt", "source.patch", "log.rank-1.txt")]
    targets += [f"/files/{here}/{secret}", f"/files/{here}/%2F{secret}", f"/files/%2F{place.folder}/secret.txt"]
    targets += ["/files/train%2Flinked/secret.txt", "/files/train%2Flinked/run.json", "/api/runs/train%2Flinked"]
    targets += [f"/api/runs/{here}/log?rank=1", f"/api/runs/{here}/patch", f"/api/runs/..%2Felsewhere%2F{run.name}"]
    for target in targets:
        answer = server.ask("GET", target)
        leaked = b"the secret" in answer.body or b"root:" in answer.body
        expect(not leaked, f"{target} is answered with the secret")
        expect(answer.status < 500, f"{target} is answered with {answer.status}: {answer.body[:200]!r}")
    answer = server.ask("GET", f"/files/{here}/run.json")
    expect(answer.status == 200, f"a file of the run is answered with {answer.status}")


# -- markup ----------------------------------------------------------------------------------------------------------


def markup(place: Place) -> None:
    """Put scripts into every text of a run, and open every view and a report in a real browser: none of them runs."""
    program = place.write("prog.py", PROGRAM)
    for text in MARKUP:
        words = [program, "train", f"--tags={json.dumps([text])}", f"--note=={text}"]
        place.run(*words, text)
        ended = place.run(*words, f"--text={text}fail", text)
        expect(ended.code == 1, f"a failing run ended with {ended.code}: {last_line(ended.stderr)}")
    runs = run_dirs(place.output_dir)
    expect(len(runs) == 2 * len(MARKUP), f"{len(runs)} runs were made")
    # In the order in which they were made: those of one second have names in any order.
    runs.sort(key=lambda run: json.loads((run / "run.json").read_text())["started_at"])
    (runs[0] / f"{MARKUP[2].replace('/', '_')}.html").write_text(MARKUP[0])
    server = Server(place)
    server.let_in()
    for run in runs:
        name = urllib.parse.quote(f"train/{run.name}", safe="")
        for target in (f"/api/runs/{name}", f"/api/runs/{name}/media", f"/api/runs/{name}/log"):
            answer = server.ask("GET", target)
            kind = answer.headers["content-type"]
            expect(answer.status == 200 and kind == "application/json", f"{target}: {answer.status}, {kind}")
        for path in sorted(run.rglob("*")):
            if path.is_file():
                _check_file(server, name, path, run)
    ended = place.pystematic("report", "--file", "report.html")
    built = "was not built into" not in ended.stderr
    expect(ended.code == (0 if built else 2), f"report ended with {ended.code}: {last_line(ended.stderr)}")
    _look_with_browser(place, server, [run.name for run in runs], has_report=built)


def _check_file(server: Server, name: str, path: Path, run: Path) -> None:
    quoted = urllib.parse.quote(str(path.relative_to(run)))
    answer = server.ask("GET", f"/files/{name}/{quoted}")
    kind, policy = answer.headers["content-type"], answer.headers["content-security-policy"]
    expect(answer.status == 200, f"{quoted} is answered with {answer.status}")
    expect("sandbox" in policy, f"{quoted} has the policy {policy}")
    is_kept = kind.startswith("image/") or answer.headers.get("content-disposition", "").startswith("attachment")
    expect(is_kept and "html" not in kind and "svg" not in kind, f"{quoted} is served as {kind}")


def _look_with_browser(place: Place, server: Server, runs: list[str], *, has_report: bool) -> None:
    """Open all views in Chromium, where there is one."""
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        print("(web-markup: no browser was used, as playwright is not installed)")
        return
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        print("(web-markup: no browser was used, as there is no Chromium)")
        return
    wrong: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=[*(["--no-sandbox"] if os.getuid() == 0 else []), "--disable-dev-shm-usage"]
        )
        page = browser.new_page()
        page.on("dialog", lambda dialog: (wrong.append(f"a dialog: {dialog.message}"), dialog.dismiss()))
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        base = f"http://{server.host}/"
        page.goto(f"{base}?token={server.token}")
        page.wait_for_selector("main.view")
        ids = [urllib.parse.quote(f"train/{name}", safe="") for name in runs]
        chosen = "&".join(f"run={name}" for name in ids)
        where = urllib.parse.quote(f"params.text == {MARKUP[0]!r}")
        views = ["#/runs", f"#/runs?where={where}&group=params.text", f"#/curves?{chosen}", f"#/compare?{chosen}"]
        views += ["#/sweeps", *(f"#/run/{ids[i]}/{tab}" for i in (0, 1, 3, 5) for tab in TABS)]
        for view in views:
            page.goto(base + view)
            page.wait_for_selector("main.view")
            page.evaluate(SETTLED)
            expect(page.evaluate("window.pwned") is None, f"a script has run in {view}")
            odd = page.locator("main iframe, main svg[onload], main img[src='x'], main script").count()
            is_shown = view != f"#/run/{ids[0]}/" or MARKUP[0] in page.inner_text("main")
            expect(is_shown, f"the text of a run is not shown in {view}")
            expect(odd == 0, f"{odd} elements of a run's text are elements of {view}")
        if has_report:
            page.goto((place.folder / "report.html").as_uri())
            page.wait_for_selector("main.view")
            page.evaluate(SETTLED)
            expect(page.evaluate("window.pwned") is None, "a script has run in the report")
        browser.close()
    foreign = [url for url in asked if not url.startswith((base, "file:", "data:", "blob:"))]
    expect(not foreign, f"another host was asked: {foreign[:3]}")
    expect(not wrong, f"{wrong[0] if wrong else ''}")


TABS = ("", "curves", "log", "media", "code", "files")
# Until nothing has changed for a while.
SETTLED = """() => new Promise(resolve => {
    let timer = setTimeout(resolve, 300);
    new MutationObserver(() => { clearTimeout(timer); timer = setTimeout(resolve, 300); })
        .observe(document, { subtree: true, childList: true });
    setTimeout(resolve, 3000);
})"""


# -- damage ----------------------------------------------------------------------------------------------------------


def damaged(place: Place) -> None:
    """Damage each file of a run in many ways while the page is open: everything is answered, nothing fails."""
    program = place.write("prog.py", PROGRAM)
    for _ in range(2):
        expect(place.run(program, "train", "a text").code == 0, "the run failed")
    broken, whole = run_dirs(place.output_dir)
    server = Server(place)
    server.let_in()
    files = [path for path in sorted(broken.rglob("*")) if path.is_file()]
    expect(len(files) >= 7, f"only {[path.name for path in files]} were left")
    for path in files:
        content = path.read_bytes()
        middle = len(content) // 2
        others = [b"", content[:middle], b"\xff\xfe\x00", b"[1, 2]\n", b"null\n", b"{}\n", b"[" * 100_000, None]
        others.append(content[:middle] + b"\x00\xff" + content[middle + 2 :])
        for other in others:
            path.unlink()
            if other is None:
                path.mkdir()
            else:
                path.write_bytes(other)
            what = f"{path.name} as {other!r:.20}"
            _ask_everything(server, broken, whole, what)
            if other is None:
                path.rmdir()
            path.write_bytes(content)
    printed = server.process.stem.with_suffix(".err").read_text()
    expect("Traceback" not in printed, f"the server has printed a traceback: {last_line(printed)}")


def _ask_everything(server: Server, broken: Path, whole: Path, what: str) -> None:
    names = [f"train/{run.name}" for run in (broken, whole)]
    quoted = urllib.parse.quote(names[0], safe="")
    targets = ["session", "columns", "table?limit=10", "table.csv", "sweeps"]
    targets += [f"runs/{quoted}{more}" for more in ("", "/log", "/log?search=text", "/patch", "/media")]
    for target in targets:
        answer = server.ask("GET", f"/api/{target}")
        expect(answer.status == 200, f"{target} with {what} is answered with {answer.status}: {answer.body[:200]!r}")
    requests = {
        "tags": {"runs": names},
        "series": {"runs": names, "tag": "loss"},
        "bands": {"groups": [{"key": "", "runs": names}], "tag": "loss"},
        "compare": {"runs": names},
    }
    for target, request in requests.items():
        answer = server.ask("POST", f"/api/{target}", json.dumps(request).encode("ascii"))
        expect(answer.status == 200, f"{target} with {what} is answered with {answer.status}: {answer.body[:200]!r}")


# -- ends ------------------------------------------------------------------------------------------------------------


def signals(place: Place) -> None:
    """End the server by each signal, with pages open that wait for news: at once, and nothing is left."""
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, 137)):
        server = Server(place)
        server.let_in()
        streams = []
        for _ in range(3):
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=LIMIT_S)
            connection.request("GET", "/api/live", headers={"Cookie": server.cookie})
            stream = connection.getresponse()
            expect(stream.readline() != b"", "no news stream")
            streams.append((stream, connection))
        began = time.monotonic()
        server.process.signal(number)
        ended = server.process.wait()
        took_s = time.monotonic() - began
        for stream, connection in streams:
            stream.close()
            connection.close()
        name = signal.Signals(number).name
        expect(ended.code == code, f"{name} ended the server with {ended.code}: {last_line(ended.stderr)}")
        expect(took_s < AT_ONCE_S, f"{name} ended the server after {took_s:.1f} s")
        expect("Traceback" not in ended.stderr, f"{name}: {last_line(ended.stderr)}")
        with socket.socket() as again:
            again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            again.bind(("127.0.0.1", server.port))
