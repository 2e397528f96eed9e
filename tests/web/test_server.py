"""The server in real processes: where it listens, what it prints, how it ends; what open pages are told."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from pystematic import rundir
from pystematic.errors import UsageError
from pystematic.web._server import bind, has_display, is_remote, tunnel_command
from tests.builders import PROCESS_LIMIT_S, make_run, run_python, wait_until
from tests.store.builders import make_recorded, record
from tests.web.builders import name_of

OUTPUT = Path("output")
# Nobody waits longer for a server to end.
AT_ONCE_S = 3.0


class Server:
    """`pystematic ui` in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.printed: list[str] = []
        assert process.stderr is not None
        for line in process.stderr:
            self.printed.append(line.rstrip("\n"))
            if line.startswith("Ctrl-C"):
                break
        found = re.search(r"http://127\.0\.0\.1:(\d+)/\?token=([\w-]+)$", "\n".join(self.printed), re.MULTILINE)
        assert found, self.printed
        self.port, self.token = int(found[1]), found[2]
        self.cookie = ""
        self._used: list[http.client.HTTPConnection | http.client.HTTPResponse] = []

    def open(self) -> None:
        """Exchange the token for a cookie, as a browser does."""
        answer = self.request("GET", f"/?token={self.token}")
        self.cookie = answer.headers["set-cookie"].partition(";")[0]

    def request(self, method: str, target: str, body: object = None) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PROCESS_LIMIT_S)
        headers = {"cookie": self.cookie, "content-type": "application/json"}
        connection.request(method, target, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        self._used += [answer, connection]
        return answer

    def get(self, target: str) -> Any:
        answer = self.request("GET", target)
        assert answer.status == 200, answer.read()
        return json.loads(answer.read())

    def close(self) -> None:
        """Close what is open to it."""
        for one in self._used:
            one.close()

    def end(self, number: int = signal.SIGINT) -> tuple[int, float]:
        """Send a signal; return the exit code and how long the end took."""
        began = time.monotonic()
        self.process.send_signal(number)
        return self.process.wait(PROCESS_LIMIT_S), time.monotonic() - began


@contextmanager
def served(*words: str, env: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Start a server, and kill it in the end."""
    variables = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "SSH_CONNECTION")}
    command = [sys.executable, "-m", "pystematic", "ui", *words, "--no-browser"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**variables, **(env or {})})
    try:
        server = Server(process)
        try:
            yield server
        finally:
            server.close()
    finally:
        process.kill()
        process.communicate(timeout=PROCESS_LIMIT_S)


def events(answer: http.client.HTTPResponse) -> Iterator[tuple[str, Any]]:
    """Yield name and data of server-sent events."""
    name = ""
    for raw in answer:
        line = raw.decode("ascii").rstrip("\n")
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def test_it_listens_at_loopback_addresses_only_and_lets_in_by_its_token(working_dir: Path) -> None:
    make_run(OUTPUT)
    with served() as server:
        listening = {
            one.laddr.ip
            for one in psutil.Process(server.process.pid).net_connections("tcp")
            if one.status == psutil.CONN_LISTEN
        }
        assert listening in ({"127.0.0.1", "::1"}, {"127.0.0.1"})
        assert server.request("GET", "/api/session").status == 401
        server.open()
        assert server.get("/api/session")["n_runs"] == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_a_signal_ends_it_at_once_with_pages_open(working_dir: Path, number: int, code: int) -> None:
    make_run(OUTPUT)
    with served() as server:
        server.open()
        streams = [server.request("GET", "/api/live") for _ in range(3)]
        assert [next(events(stream)) for stream in streams] == [
            ("hello", {"changed": [], "removed": [], "grown": [], "sweeps": []})
        ] * 3
        ended, took_s = server.end(number)

        assert ended == code
        assert took_s < AT_ONCE_S
        assert server.process.stderr is not None
        assert server.process.stderr.read() == ""


def test_open_pages_are_told_what_changes(working_dir: Path) -> None:
    first = make_recorded(OUTPUT, {"loss": [1.0]})
    with served() as server:
        server.open()
        told = events(server.request("GET", "/api/live"))
        next(told)

        def wait_for(kind: str, name: str) -> Any:
            for _, change in told:
                names = [one["id"] if isinstance(one, dict) else one for one in change[kind]]
                if name in names:
                    return change
            raise AssertionError("the stream has ended")

        second = make_run(
            OUTPUT, status="running", ended_at=None, host=rundir.host_name(), pid=rundir.process_identity()
        )
        wait_for("changed", name_of(second))
        assert server.get("/api/session")["n_running"] == 1

        second.log_file().write_text("hello\n")
        record(second, {"loss": [1.0]}, with_summary=False)
        (grown,) = wait_for("grown", name_of(second))["grown"]
        assert grown["series_bytes"] > 0

        rundir.write_document(first.labels_file, {"schema": 1, "tags": ["good"]})
        wait_for("changed", name_of(first))
        assert [row["tags"] for row in server.get("/api/table")["rows"] if row["id"] == name_of(first)] == [["good"]]

        for path in sorted(first.path.iterdir()):
            path.unlink()
        first.path.rmdir()
        wait_for("removed", name_of(first))


def test_an_occupied_port_is_one_error(working_dir: Path) -> None:
    OUTPUT.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = run_python("-m", "pystematic", "ui", "--port", str(port))

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"pystematic ui: error: --port {port} is in use by another program. Give another one, or leave it out for one "
        "that is free.\nSee 'pystematic ui --help'.\n"
    )


def test_two_servers_get_two_ports(working_dir: Path) -> None:
    OUTPUT.mkdir()
    with served() as first, served() as second:
        assert first.port != second.port


def test_on_a_login_node_the_tunnel_is_printed(working_dir: Path) -> None:
    OUTPUT.mkdir()
    with served(env={"SSH_CONNECTION": "10.0.0.1 1 10.0.0.2 22", "USER": "me", "DISPLAY": ":0"}) as server:
        tunnel = f"  ssh -N -L {server.port}:127.0.0.1:{server.port} me@{socket.gethostname()}"
        assert server.printed == [
            f"The runs of {OUTPUT.resolve()}:".replace(str(OUTPUT.resolve()), "./output"),
            f"  http://127.0.0.1:{server.port}/?token={server.token}",
            "From your own computer, first:",
            tunnel,
            "Ctrl-C ends it.",
        ]


def test_the_folder_of_one_run_shows_those_beside_it(working_dir: Path) -> None:
    run = make_run(OUTPUT)
    make_run(OUTPUT)
    with served(str(run.path)) as server:
        server.open()
        assert server.get("/api/session")["n_runs"] == 2


# -- in this process -------------------------------------------------------------------------------------------------


def test_a_given_port_is_bound_for_both_loopback_addresses_or_not_at_all() -> None:
    sockets = bind(None)
    port = sockets[0].getsockname()[1]
    for one in sockets:
        one.close()
    with socket.socket(socket.AF_INET6) as other:
        try:
            other.bind(("::1", port))
        except OSError:
            pytest.skip("this machine has no ::1")
        other.listen()
        with pytest.raises(UsageError, match=f"--port {port} is in use"):
            bind(port)


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_what_is_no_port_is_refused(port: int) -> None:
    with pytest.raises(UsageError, match=f"--port {port} is no port"):
        bind(port)


@pytest.mark.skipif(sys.platform != "linux", reason="displays are told by variables")
def test_where_a_browser_can_be_opened() -> None:
    assert has_display({"DISPLAY": ":0"})
    assert has_display({"WAYLAND_DISPLAY": "wayland-0"})
    assert not has_display({})
    assert not has_display({"DISPLAY": ":10", "SSH_CONNECTION": "a b c d"})
    assert is_remote({})
    assert not is_remote({"DISPLAY": ":0"})


def test_the_tunnel_names_user_and_host() -> None:
    assert tunnel_command(80, {}) == f"ssh -N -L 80:127.0.0.1:80 USER@{socket.gethostname()}"


def test_the_browser_gets_a_token_of_a_single_use(working_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pystematic.web import _server
    from pystematic.web._security import Secrets

    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr(_server, "has_display", lambda environment: True)
    sockets = bind(None)
    keys = Secrets(1)
    _server.announce(OUTPUT, sockets, keys, with_browser=True)
    for one in sockets:
        one.close()
    wait_until(lambda: opened)

    token = opened[0].rpartition("=")[2]
    assert token != keys.token
    assert (keys.accepts(token), keys.accepts(token)) == (True, False)
