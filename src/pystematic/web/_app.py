"""The application: which address leads to which function of `Api`. The one place that imports Starlette."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import urllib.parse

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route

from pystematic.web._errors import RequestError
from pystematic.web._folder import file_inside
from pystematic.web._json import dump_json
from pystematic.web._live import no_change
from pystematic.web._run_page import INLINE_TYPES
from pystematic.web._security import FILE_POLICY, Guard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from typing import Any

    from pystematic.web._api import Api
    from pystematic.web._schema import ErrorAnswer
    from pystematic.web._security import App, Receive, Scope, Secrets, Send

STATIC_DIR = os.path.join(os.path.dirname(os.path.abspath(__file__)), "static")
# A list of 10,000 ids of runs is less.
MOST_BODY_BYTES = 8 * 2**20
_STATIC_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".ico": "image/x-icon",
    ".js": "text/javascript",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}


def make_app(api: Api, keys: Secrets, static_dir: str = STATIC_DIR) -> App:
    """Return the guarded application over a folder."""
    routes = make_routes(api, static_dir)
    handlers: dict[Any, Any] = {
        RequestError: _request_error,
        HTTPException: _http_error,
        Exception: _unexpected,
    }
    inner = Starlette(routes=routes, exception_handlers=handlers)
    return Guard(_raw_paths(inner), keys)


def make_routes(api: Api, static_dir: str = STATIC_DIR) -> list[Route]:
    """Return all that can be asked for. The id of a run, or name of a sweep, is one segment, percent-encoded."""
    return [
        _get("/api/session", lambda request: api.session()),
        _get("/api/columns", lambda request: api.columns()),
        _get("/api/table", lambda request: api.table(_query(request))),
        Route("/api/table.csv", _csv_endpoint(api), methods=["GET"]),
        _post("/api/tags", lambda request, body: api.tags(body)),
        _post("/api/series", lambda request, body: api.series(body)),
        _post("/api/bands", lambda request, body: api.bands(body)),
        _post("/api/compare", lambda request, body: api.compare(body)),
        _get("/api/runs/{id}", lambda request: api.run(_segment(request, "id"))),
        _get("/api/runs/{id}/log", lambda request: api.log(_segment(request, "id"), _query(request))),
        _get("/api/runs/{id}/patch", lambda request: api.patch(_segment(request, "id"))),
        _get("/api/runs/{id}/media", lambda request: api.media(_segment(request, "id"), _query(request))),
        _post("/api/runs/{id}/labels", lambda request, body: api.change_labels(_segment(request, "id"), body)),
        _get("/api/sweeps", lambda request: api.sweeps()),
        _get("/api/sweeps/{name}", lambda request: api.sweep(_segment(request, "name"))),
        Route("/api/live", _live_endpoint(api), methods=["GET"]),
        Route("/files/{id}/{path:path}", _file_endpoint(api), methods=["GET"]),
        Route("/{path:path}", _static_endpoint(static_dir), methods=["GET"]),
    ]


def _raw_paths(app: App) -> App:
    """Let routes match the path as it was sent: in a decoded one the slash of an id would be one of the address."""

    async def raw(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = scope.get("raw_path", b"").partition(b"?")[0].decode("latin-1")
            scope = {**scope, "path": path or scope["path"]}
        await app(scope, receive, send)

    return raw


# -- requests --------------------------------------------------------------------------------------------------------


def _segment(request: Request, name: str) -> str:
    return urllib.parse.unquote(request.path_params[name], errors="surrogateescape")


def _query(request: Request) -> dict[str, list[str]]:
    return {name: request.query_params.getlist(name) for name in request.query_params}


def _get(path: str, answer: Callable[[Request], Any]) -> Route:
    async def endpoint(request: Request) -> Response:
        return await run_in_threadpool(lambda: _json_response(answer(request)))

    return Route(path, endpoint, methods=["GET"])


def _post(path: str, answer: Callable[[Request, dict[str, Any]], Any]) -> Route:
    async def endpoint(request: Request) -> Response:
        body = _parse_body(await _read_body(request))
        return await run_in_threadpool(lambda: _json_response(answer(request, body)))

    return Route(path, endpoint, methods=["POST"])


async def _read_body(request: Request) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_BODY_BYTES:
            raise RequestError(413, f"the request is too large: at most {MOST_BODY_BYTES} bytes are read.")
    return bytes(body)


def _parse_body(body: bytes) -> dict[str, Any]:
    try:
        plain = json.loads(body)
    except (ValueError, RecursionError):
        raise RequestError(400, "the request is no JSON.") from None
    if not isinstance(plain, dict):
        raise RequestError(400, "the request must be a JSON object.")
    return plain


# -- answers ---------------------------------------------------------------------------------------------------------


def _json_response(answer: object, status: int = 200) -> Response:
    return Response(dump_json(answer), status, media_type="application/json")


def _csv_endpoint(api: Api) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        content = await run_in_threadpool(api.table_csv, _query(request))
        headers = {"content-disposition": 'attachment; filename="runs.csv"'}
        return Response(content, media_type="text/csv; charset=utf-8", headers=headers)

    return endpoint


def _file_endpoint(api: Api) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        path = _segment(request, "path")
        real = await run_in_threadpool(api.file, _segment(request, "id"), path)
        kind = INLINE_TYPES.get(os.path.splitext(real)[1].lower())
        headers = {"content-security-policy": FILE_POLICY, "cache-control": "private, no-cache"}
        if kind is None:
            name = urllib.parse.quote(os.path.basename(path).encode("utf-8", "surrogateescape"), safe="")
            headers["content-disposition"] = f"attachment; filename*=UTF-8''{name}"
        return FileResponse(real, media_type=kind or "application/octet-stream", headers=headers)

    return endpoint


def _static_endpoint(static_dir: str) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        name = _segment(request, "path") or "index.html"
        real = await run_in_threadpool(file_inside, static_dir, name)
        kind = _STATIC_TYPES.get(os.path.splitext(name)[1])
        if real is None or kind is None:
            if name == "index.html":
                raise RequestError(500, "the page was not built into this installation of pystematic.")
            raise RequestError(404, f"there is no {name!r} here.")
        return FileResponse(real, media_type=kind, headers={"cache-control": "no-cache"})

    return endpoint


def _live_endpoint(api: Api) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        async def events() -> AsyncIterator[bytes]:
            subscriber = await run_in_threadpool(api.watcher.subscribe, asyncio.get_running_loop())
            try:
                yield b"retry: 1000\n" + _event("hello", no_change())
                async for change in subscriber.changes():
                    yield b": nothing new\n\n" if change is None else _event("change", change)
            finally:
                api.watcher.unsubscribe(subscriber)

        return StreamingResponse(events(), media_type="text/event-stream")

    return endpoint


def _event(name: str, answer: object) -> bytes:
    return b"event: " + name.encode("ascii") + b"\ndata: " + dump_json(answer) + b"\n\n"


# -- errors ----------------------------------------------------------------------------------------------------------


def _request_error(request: Request, error: Any) -> Response:
    assert isinstance(error, RequestError)
    answer: ErrorAnswer = {
        "error": {
            "message": error.message,
            "field": error.field,
            "position": error.position,
            "hint": error.hint,
        }
    }
    return _json_response(answer, error.status)


def _http_error(request: Request, error: Any) -> Response:
    made = _request_error(request, RequestError(error.status_code, str(error.detail)))
    made.headers.update(error.headers or {})
    return made


def _unexpected(request: Request, error: Exception) -> Response:
    """Answer for a bug of ours; what it is stands on the terminal."""
    import traceback

    text = "".join(traceback.format_exception(error))
    print(f"pystematic ui: {request.method} {request.url.path} failed:\n{text}", file=sys.stderr, flush=True)
    message = f"the server failed: {type(error).__name__}. What happened stands on its terminal."
    return _request_error(request, RequestError(500, message))
