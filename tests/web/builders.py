"""Builders for the tests of the page: a client that is let in, runs with odd texts, items beside numbers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from pystematic import rundir
from pystematic.web._api import Api
from pystematic.web._app import make_app
from pystematic.web._security import Secrets

if TYPE_CHECKING:
    from pystematic.web._security import App

PORT = 6070
HOST = f"127.0.0.1:{PORT}"
# Markup, an emoji, line ends, a half character, letters that mean something in addresses; and long.
ODD_TEXTS = (
    "<script>alert(1)</script>",
    "</script><!--<img src=x onerror=alert(1)>",
    "\U0001f600 \u00fc",
    "a\nb\r\nc\u2028d",
    "x" * 5000,
    "a/b%2Fc?d#e&f='\"`\\",
    "\ud800 half",
)


@dataclass(frozen=True)
class Answer:
    """An answer of the application; the last of headers of one name counts."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode("utf-8")

    def json(self) -> Any:
        return json.loads(self.content)


def ask(app: App, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
    """Send a request to an ASGI application, its target as it stands, and return the answer.

    Not a client of HTTP: those tidy up the paths that a test is about.
    """
    path, _, query = target.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode("ascii"),
        "query_string": query.encode("ascii"),
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", PORT),
    }
    sent: list[Any] = []
    requests: list[Any] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        if not requests:
            await asyncio.Event().wait()  # for the client to go away, which it does not
        return requests.pop()

    async def send(message: Any) -> None:
        sent.append(message)

    async def run() -> None:
        try:
            await app(scope, receive, send)
        except Exception:
            if not sent:  # else a failure that was answered, and is told to the server besides
                raise

    asyncio.run(run())
    start = sent[0]
    names = {key.decode("latin-1"): value.decode("latin-1") for key, value in start["headers"]}
    return Answer(start["status"], names, b"".join(message.get("body", b"") for message in sent[1:]))


class Page:
    """The application over a folder, asked as an opened page asks it."""

    def __init__(self, folder: Path, static_dir: Path | None = None) -> None:
        self.keys = Secrets(PORT)
        self.api = Api(folder)
        self.app = make_app(self.api, self.keys, *([] if static_dir is None else [str(static_dir)]))

    @property
    def cookie(self) -> str:
        return f"{self.keys.cookie_name}={self.keys.cookie}"

    def ask(self, target: str, method: str = "GET", body: bytes = b"", **headers: str) -> Answer:
        """Send a request with the cookie, or other headers in the place of ours; ``_`` in a name is ``-``."""
        own = {"host": HOST, "cookie": self.cookie}
        if method == "POST":
            own["content-type"] = "application/json"
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return ask(self.app, method, target, {**own, **given}, body)

    def download(self, path: str, **params: Any) -> Answer:
        """Return the answer to a question; a list of values is one name several times."""
        return self.ask(f"{path}?{urlencode(params, doseq=True)}" if params else path)

    def get(self, path: str, **params: Any) -> Any:
        """Return what a question that must be answered is told."""
        answer = self.download(path, **params)
        assert answer.status == 200, answer.text
        return answer.json()

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Return what a request that must be fulfilled is told."""
        answer = self.ask(path, "POST", json.dumps(body).encode("ascii"))
        assert answer.status == 200, answer.text
        return answer.json()

    def refusal(self, path: str, body: Mapping[str, Any] | None = None, **params: Any) -> tuple[int, Any]:
        """Return status and error of a request that must be refused."""
        if body is None:
            answer = self.download(path, **params)
        else:
            answer = self.ask(path, "POST", json.dumps(body).encode("ascii"))
        return answer.status, answer.json()["error"]


@contextmanager
def opened_page(folder: Path, static_dir: Path | None = None) -> Iterator[Page]:
    """Open the page of a folder, and close it."""
    page = Page(folder, static_dir)
    try:
        yield page
    finally:
        page.api.close()


def name_of(run_dir: rundir.RunDir) -> str:
    """Return how the page names a run."""
    return f"{run_dir.path.parent.name}/{run_dir.id}"


def segment(run_dir: rundir.RunDir) -> str:
    """Return the same as it stands in an address."""
    return quote(name_of(run_dir), safe="")


def add_items(run_dir: rundir.RunDir, *items: rundir.Item) -> None:
    """Record something beside numbers."""
    with open(run_dir.metrics_file(), "ab") as file:
        for item in items:
            file.write(rundir.format_item(item, run_dir.path))
