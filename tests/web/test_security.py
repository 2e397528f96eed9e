"""Who is let in, by every route of the table; and what every answer carries."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pystematic.web._app import make_routes
from tests.builders import make_run
from tests.web.builders import HOST, PORT, Page, opened_page, segment

OUTPUT = Path("output")
PAGE = "<!doctype html><title>page</title>"


@pytest.fixture
def page(working_dir: Path) -> Iterator[Page]:
    OUTPUT.mkdir()
    static = working_dir / "static"
    static.mkdir()
    (static / "index.html").write_text(PAGE)
    (static / "page.js").write_text("1")
    with opened_page(OUTPUT, static) as opened:
        yield opened


def addresses(page: Page) -> list[tuple[str, str]]:
    """Return a method and an address for every route."""
    run = segment(make_run(OUTPUT))
    found = []
    for route in make_routes(page.api):
        target = route.path.replace("{path:path}", "page.js").replace("{id}", run).replace("{name}", "study")
        assert "{" not in target
        (method,) = (route.methods or set()) - {"HEAD"}
        found.append((method, target))
    assert len(found) > 15
    return found


# What nothing is fetched for, and nothing of others is let in by.
DEMANDED = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
}


def assert_guarded(headers: dict[str, str], where: str) -> None:
    for name, value in DEMANDED.items():
        assert headers.get(name) == value, where
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "*" not in policy
    assert not [name for name in headers if name.startswith("access-control-")], where


def test_without_the_cookie_every_route_says_401(page: Page) -> None:
    for method, target in addresses(page):
        for cookie in ("", f"{page.keys.cookie_name}=wrong", f"{page.keys.cookie_name}={page.keys.token}"):
            answer = page.ask(target, method, cookie=cookie)
            assert answer.status == 401, target
            assert_guarded(answer.headers, target)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        f"evil.example:{PORT}",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        f"127.0.0.2:{PORT}",
        f"0.0.0.0:{PORT}",
        f"[::]:{PORT}",
        "127.0.0.1:x",
        "evil@127.0.0.1",
        "",
    ],
)
def test_another_host_is_refused_by_every_route(page: Page, host: str) -> None:
    for method, target in addresses(page):
        answer = page.ask(target, method, host=host)
        assert answer.status == 403, target
        assert_guarded(answer.headers, target)


@pytest.mark.parametrize("host", ["localhost", f"localhost:{PORT}", HOST, f"[::1]:{PORT}", "[::1]", "LOCALHOST:8080"])
def test_loopback_names_with_any_port_are_let_in(page: Page, host: str) -> None:
    assert page.ask("/api/session", host=host).status == 200


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", f"https://{HOST}", "http://127.0.0.1:1", f"http://localhost:{PORT}", ""]
)
def test_another_origin_is_refused_by_every_route(page: Page, origin: str) -> None:
    for method, target in addresses(page):
        answer = page.ask(target, method, origin=origin)
        assert answer.status == 403, target
        assert_guarded(answer.headers, target)


@pytest.mark.parametrize("site", ["cross-site", "same-site", "", "other"])
def test_what_another_site_has_caused_is_refused_by_every_route(page: Page, site: str) -> None:
    for method, target in addresses(page):
        assert page.ask(target, method, sec_fetch_site=site).status == 403, target
        assert page.ask(target, method, sec_fetch_site=site, sec_fetch_mode="no-cors").status == 403, target


def test_a_link_of_another_server_of_this_host_may_lead_to_the_page_but_not_of_another_site(page: Page) -> None:
    assert page.ask("/", sec_fetch_site="same-site", sec_fetch_mode="navigate").status == 200
    answer = page.ask("/api/runs/x/labels", "POST", b"{}", sec_fetch_site="same-site", sec_fetch_mode="navigate")
    assert answer.status == 403
    assert page.ask("/", sec_fetch_site="cross-site", sec_fetch_mode="navigate").status == 403


def test_the_page_itself_may_ask(page: Page) -> None:
    answer = page.ask(
        *("/api/tags", "POST", b'{"runs":[]}'),
        origin=f"http://{HOST}",
        sec_fetch_site="same-origin",
        sec_fetch_mode="cors",
    )
    assert answer.status == 200


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "application/jso"],
)
def test_what_writes_has_to_be_json(page: Page, kind: str) -> None:
    run = make_run(OUTPUT)
    for method, target in addresses(page):
        if method == "POST":
            assert page.ask(target, method, b'{"note":"x"}', content_type=kind).status == 415, target
    assert page.ask("/", "PUT", content_type=kind).status == 415
    assert not run.labels_file.exists()


def test_every_answer_carries_the_headers(page: Page) -> None:
    for method, target in addresses(page):
        if target == "/api/live":
            continue  # has no end
        assert_guarded(page.ask(target, method, b"{}").headers, target)
    for target in ("/nothing.js", "/api/nothing", "/api/runs/nothing", "/files/a/b", "/api/table?where=x"):
        answer = page.ask(target)
        assert answer.status in (400, 404), target
        assert_guarded(answer.headers, target)
    for method in ("OPTIONS", "PUT", "DELETE", "PATCH", "TRACE"):
        answer = page.ask("/api/table", method, content_type="application/json")
        assert answer.status == 405
        assert_guarded(answer.headers, method)


def test_a_failure_of_ours_is_guarded_and_shows_no_stack(
    page: Page, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(page.api, "session", lambda: 1 / 0)
    answer = page.ask("/api/session")

    assert answer.status == 500
    assert_guarded(answer.headers, "failure")
    assert "ZeroDivisionError" in answer.json()["error"]["message"]
    assert "Traceback" not in answer.text
    assert "Traceback" in capsys.readouterr().err


def test_a_body_that_is_too_large_is_not_read(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pystematic.web._app.MOST_BODY_BYTES", 100)

    assert page.ask("/api/tags", "POST", b" " * 101).status == 413


# -- the token -------------------------------------------------------------------------------------------------------


def test_the_token_becomes_a_cookie_and_leaves_the_address(page: Page) -> None:
    answer = page.ask(f"/?token={page.keys.token}&where=a%26b&view=runs", cookie="")

    assert answer.status == 303
    assert answer.headers["location"] == "/?where=a%26b&view=runs"
    assert page.keys.token not in str(answer)
    assert re.fullmatch(
        rf"pystematic-{PORT}=[\w-]{{43}}; Path=/; HttpOnly; SameSite=Strict", answer.headers["set-cookie"]
    )
    assert_guarded(answer.headers, "token")
    cookie = answer.headers["set-cookie"].partition(";")[0]
    assert page.ask("/", cookie=f"other=1; {cookie}; more=2").text == PAGE


@pytest.mark.parametrize("token", ["", "wrong", "%F0%9F%98%80", "a" * 10_000])
def test_a_wrong_token_lets_nobody_in(page: Page, token: str) -> None:
    answer = page.ask(f"/?token={token}")

    assert answer.status == 401
    assert "set-cookie" not in answer.headers
    assert "Open the whole address" in answer.text


def test_a_token_counts_at_the_start_address_only(page: Page) -> None:
    assert page.ask(f"/api/session?token={page.keys.token}", cookie="").status == 401
    assert page.ask(f"/?token={page.keys.token}", "POST", cookie="").status == 401


def test_a_token_for_a_browser_that_is_started_is_good_once(page: Page) -> None:
    token = page.keys.draw_single_use()

    assert page.ask(f"/?token={token}", cookie="").status == 303
    assert page.ask(f"/?token={token}", cookie="").status == 401
    assert page.ask(f"/?token={page.keys.token}", cookie="").status == 303


def test_two_pages_have_other_tokens_and_cookies(page: Page) -> None:
    with opened_page(OUTPUT) as other:
        assert {page.keys.token, page.keys.cookie}.isdisjoint({other.keys.token, other.keys.cookie})
        assert other.ask("/api/session", cookie=page.cookie).status == 401


def test_a_websocket_is_closed(page: Page) -> None:
    import asyncio

    sent = []

    async def send(message: object) -> None:
        sent.append(message)

    async def run() -> None:
        await page.app({"type": "websocket", "path": "/api/live", "headers": []}, None, send)  # type: ignore[arg-type]

    asyncio.run(run())
    assert sent == [{"type": "websocket.close", "code": 1008}]


def test_the_page_is_served_with_its_types(page: Page) -> None:
    assert page.ask("/").text == PAGE
    assert page.ask("/").headers["content-type"] == "text/html; charset=utf-8"
    assert page.ask("/page.js").headers["content-type"] == "text/javascript; charset=utf-8"
    assert page.ask("/page.js", "HEAD").content == b""
