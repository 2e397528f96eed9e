"""`Guard`: who may ask for what. Stands before the whole application, so that no route can forget it.

The page shows what may be nobody else's business, and other users of the machine, other sites open in the same browser,
and other servers on this host can all send requests to it. So: the name of the host must be a loopback one (a foreign
name that leads here is DNS rebinding), a request that another origin has caused is refused, a secret cookie is needed,
and what writes has to be JSON, which no form of another site can send. Every answer carries the headers that keep a
browser from running or showing anything else.
"""

from __future__ import annotations

import hmac
import secrets
import urllib.parse

from pystematic.web._json import dump_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, MutableMapping
    from typing import Any

    from pystematic.web._schema import ErrorAnswer

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    App = Callable[[Scope, Receive, Send], Awaitable[None]]
    Headers = list[tuple[bytes, bytes]]

LOOPBACK_NAMES = frozenset(("localhost", "127.0.0.1", "[::1]"))
READING_METHODS = frozenset(("GET", "HEAD"))
# Another server on this host is the same site as ours for a browser; only a link of it may lead here.
OWN_SITES = frozenset(("same-origin", "none"))
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# Of files of a run: whatever is in them, nothing of it is run or fetched.
FILE_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"
_HEADERS = (
    (b"content-security-policy", POLICY.encode("ascii")),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


class Secrets:
    """What lets a browser in.

    Attributes:
        token: stands in the start address, which may be opened several times.
        cookie: what a browser gets for a token.
        cookie_name: with the port in it, as browsers do not keep cookies of two ports of one host apart.
    """

    def __init__(self, port: int) -> None:
        self.token = secrets.token_urlsafe(32)
        self.cookie = secrets.token_urlsafe(32)
        self.cookie_name = f"pystematic-{port}"
        self._once: set[str] = set()

    def draw_single_use(self) -> str:
        """Return a token that is good for one opening: it stands in the command line of a browser, for all to see."""
        token = secrets.token_urlsafe(32)
        self._once.add(token)
        return token

    def accepts(self, token: str) -> bool:
        """Tell whether a token lets in; one of a single use is used up."""
        if _is_equal(token, self.token):
            return True
        for known in self._once:
            if _is_equal(token, known):
                self._once.remove(known)
                return True
        return False

    def is_known(self, cookies: str) -> bool:
        """Tell whether the cookies of a request let it in."""
        for part in cookies.split(";"):
            name, _, value = part.strip().partition("=")
            if name == self.cookie_name and _is_equal(value, self.cookie):
                return True
        return False


def _is_equal(given: str, known: str) -> bool:
    """Compare in a time that says nothing of how much is right."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), known.encode("ascii"))


class Guard:
    """An ASGI application that lets requests through to another one, or refuses them."""

    def __init__(self, app: App, keys: Secrets) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": _with_headers(message.get("headers", ()))}
            await send(message)

        headers: Headers = list(scope["headers"])
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await _answer(scope, send_guarded, *refusal)
            return
        token = _token_of(scope)
        if token is not None:
            await self._open(scope, send_guarded, token)
            return
        cookies = ";".join(_values(headers, b"cookie"))
        if not self._keys.is_known(cookies):
            await _answer(scope, send_guarded, 401, _HOW_TO_OPEN)
            return
        await self._app(scope, receive, send_guarded)

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        hosts, origins = _values(headers, b"host"), _values(headers, b"origin")
        if len(hosts) != 1 or _host_name(hosts[0]) not in LOOPBACK_NAMES:
            shown = ", ".join(hosts) or "none"
            return 403, f"the host {shown!r} is not this machine. Open http://127.0.0.1 with the port of the page."
        if any(origin.lower() != f"http://{hosts[0].lower()}" for origin in origins):
            return 403, f"a page of {', '.join(origins)!r} may not ask this one."
        sites = _values(headers, b"sec-fetch-site")
        modes = _values(headers, b"sec-fetch-mode")
        is_link = scope["method"] == "GET" and modes == ["navigate"]
        for site in sites:
            if site not in OWN_SITES and not (site == "same-site" and is_link):
                return 403, "another site has asked for this. Copy the address into the address bar instead."
        if scope["method"] not in READING_METHODS:
            kinds = [kind.partition(";")[0].strip().lower() for kind in _values(headers, b"content-type")]
            if kinds != ["application/json"]:
                return 415, "what writes has to be of the type application/json."
        return None

    async def _open(self, scope: Scope, send: Send, token: str) -> None:
        """Exchange a token for the cookie, and lead to the address without it: it would stay in the history."""
        if not self._keys.accepts(token):
            await _answer(scope, send, 401, _HOW_TO_OPEN)
            return
        pairs = urllib.parse.parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        rest = urllib.parse.urlencode([(name, value) for name, value in pairs if name != "token"])
        cookie = f"{self._keys.cookie_name}={self._keys.cookie}; Path=/; HttpOnly; SameSite=Strict"
        location = f"/?{rest}" if rest else "/"
        headers = [(b"location", location.encode("latin-1")), (b"set-cookie", cookie.encode("ascii"))]
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


_HOW_TO_OPEN = (
    "this page needs its token. Open the whole address that `pystematic ui` has printed, with ?token=... at its end."
)


def _token_of(scope: Scope) -> str | None:
    if scope["path"] != "/" or scope["method"] != "GET":
        return None
    query = urllib.parse.parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    tokens = query.get("token")
    return tokens[0] if tokens else None


def _host_name(host: str) -> str:
    """Return a Host header without its port, in small letters; an empty text of anything odd."""
    name, colon, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
    if not colon:
        name = host
    elif not (port.isascii() and port.isdigit()):
        return ""
    return name.lower()


def _values(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in headers if key.lower() == name]


def _with_headers(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    own = [(key, value) for key, value in headers if not key.lower().startswith(b"access-control-")]
    named = {key.lower() for key, _ in own}
    return [*own, *((key, value) for key, value in _HEADERS if key not in named)]


async def _answer(scope: Scope, send: Send, status: int, message: str) -> None:
    is_page = scope["path"] == "/"
    if is_page:
        body, kind = f"pystematic ui: {message}\n".encode("ascii", "backslashreplace"), b"text/plain; charset=utf-8"
    else:
        answer: ErrorAnswer = {"error": {"message": message, "field": None, "position": None, "hint": ""}}
        body, kind = dump_json(answer), b"application/json"
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode("ascii"))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
