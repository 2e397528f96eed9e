"""`serve`: binds loopback addresses, says where the page is, opens a browser, and serves until Ctrl-C.

The one place that imports uvicorn.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
import threading

from pystematic.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pystematic.web._security import App, Secrets

# What is tried where no port is given: an address that stays is good for `ssh -L`, and for the browser's history.
PREFERRED_PORT = 6070
ATTEMPTS = 20
# After Ctrl-C a request that is being answered gets so long.
GRACE_S = 1


def serve(path: str | os.PathLike[str], *, port: int | None = None, with_browser: bool = True) -> None:
    """Show a folder of runs until Ctrl-C.

    Args:
        path: of the folder.
        port: to listen at; a free one when None.
        with_browser: whether to open a browser, where there is a display.

    Raises:
        UsageError: the port cannot be used.
        KeyboardInterrupt: Ctrl-C.
    """
    from pystematic.web._security import Secrets

    sockets = bind(port)
    try:
        keys = Secrets(sockets[0].getsockname()[1])
        announce(path, sockets, keys, with_browser=with_browser)
        _run(path, sockets, keys)
    finally:
        for one in sockets:
            one.close()


# -- listening -------------------------------------------------------------------------------------------------------


def bind(port: int | None) -> list[socket.socket]:
    """Return listening sockets of 127.0.0.1, and of ::1 where there is one, at one port.

    Raises:
        UsageError: the given port is in use, or may not be used.
    """
    if port is not None:
        if not 1 <= port <= 65535:
            raise UsageError(f"--port {port} is no port. Give a number from 1 to 65535, or leave it out.")
        try:
            return _bind_both(port)
        except OSError as error:
            raise UsageError(_why_not(port, error)) from None
    for candidate in (PREFERRED_PORT, *[0] * ATTEMPTS):
        try:
            return _bind_both(candidate)
        except OSError as error:
            last = error
    raise UsageError(f"no port of 127.0.0.1 can be had: {last.strerror or last}. Give one that is free: --port N.")


def _bind_both(port: int) -> list[socket.socket]:
    first = _bind(socket.AF_INET, "127.0.0.1", port)
    try:
        return [first, _bind(socket.AF_INET6, "::1", first.getsockname()[1])]
    except OSError as error:
        # Somebody else at the same port of ::1 would be asked by whoever writes `localhost`.
        if error.errno == errno.EADDRINUSE:
            first.close()
            raise
        return [first]  # a machine without IPv6


def _bind(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform == "win32":
            # There SO_REUSEADDR would take a port from the one who has it.
            made.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((host, port))
        made.listen(128)
    except BaseException:
        made.close()
        raise
    return made


def _why_not(port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"--port {port} is in use by another program. Give another one, or leave it out for one that is free."
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"--port {port} may not be used by you. Give one from 1024 on, or leave it out for one that is free."
    return f"--port {port} cannot be used: {error.strerror or error}. Give another one, or leave it out."


# -- saying where ----------------------------------------------------------------------------------------------------


def announce(path: str | os.PathLike[str], sockets: list[socket.socket], keys: Secrets, *, with_browser: bool) -> None:
    """Say on stderr where the page is, and open a browser where there is one."""
    port = sockets[0].getsockname()[1]
    lines = [f"The runs of {os.fspath(path)}:", f"  {address(port, keys.token)}"]
    if is_remote(os.environ):
        lines += ["From your own computer, first:", f"  {tunnel_command(port, os.environ)}"]
    lines.append("Ctrl-C ends it.")
    print("\n".join(lines), file=sys.stderr, flush=True)
    if with_browser and has_display(os.environ):
        _open_browser(address(port, keys.draw_single_use()))


def address(port: int, token: str) -> str:
    """Return the start address."""
    return f"http://127.0.0.1:{port}/?token={token}"


def is_remote(environment: Mapping[str, str]) -> bool:
    """Tell whether the person most likely sits at another computer."""
    return bool(environment.get("SSH_CONNECTION")) or not has_display(environment)


def has_display(environment: Mapping[str, str]) -> bool:
    """Tell whether a browser of the person could be opened from here."""
    if environment.get("SSH_CONNECTION"):
        return False
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"))


def tunnel_command(port: int, environment: Mapping[str, str]) -> str:
    """Return the command that makes the page reachable from the person's own computer."""
    user = environment.get("USER") or environment.get("LOGNAME") or "USER"
    # What one has connected to is known to work from there, unlike the machine's own name; but may be an inner address.
    host = socket.gethostname() or "HOST"
    return f"ssh -N -L {port}:127.0.0.1:{port} {user}@{host}"


def _open_browser(url: str) -> None:
    import webbrowser

    # Some browsers are waited for until they are closed.
    threading.Thread(target=webbrowser.open, args=(url,), name="pystematic-browser", daemon=True).start()


# -- serving ---------------------------------------------------------------------------------------------------------


def _run(path: str | os.PathLike[str], sockets: list[socket.socket], keys: Secrets) -> None:
    from pystematic.web._api import Api
    from pystematic.web._app import make_app

    api = Api(path)
    try:
        run_server(make_app(api, keys), sockets, on_end=api.close)
    finally:
        api.close()


def run_server(app: App, sockets: list[socket.socket], *, on_end: Callable[[], None]) -> None:
    """Serve an application; ``on_end`` ends its open streams, so that a signal ends the server at once.

    Raises:
        KeyboardInterrupt: Ctrl-C.
    """
    import uvicorn

    class Server(uvicorn.Server):
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            on_end()
            await super().shutdown(sockets)

    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="critical",
        access_log=False,
        lifespan="off",
        ws="none",
        http="h11",
        loop="asyncio",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    Server(config).run(sockets)
