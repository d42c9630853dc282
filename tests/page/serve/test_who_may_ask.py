"""Who may ask: by which host, from which page, with which token, and how much at once."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
from asking import ask, scope_of
from small_run import call, environment
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import headwater
from headwater.core.errors import ConfigError
from headwater.page.serve import guard, serving
from headwater.page.serve.app import guarded, make_app


async def echo(request: Request) -> PlainTextResponse:
    return PlainTextResponse(await request.body())


async def fail(request: Request) -> PlainTextResponse:
    raise RuntimeError("a secret of the program's")


ROUTES = [Route("/echo", echo, methods=["GET", "POST"]), Route("/fail", fail)]


@pytest.fixture
def app(monkeypatch):
    monkeypatch.setattr(guard, "MAX_BODY_BYTES", 1000)
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.05)
    return guarded(ROUTES)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8000", "[::1]:8000", "LOCALHOST"])
def test_this_machine_is_answered(app, host):
    assert ask(app, "GET", "/echo", host).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example:8000",
        "",
        "[",
        "a@b",
        "evil@localhost",
        "localhost/evil",
    ],
)
def test_a_name_that_was_made_to_lead_here_is_refused(app, host):
    answer = ask(app, "GET", "/echo", headers={"host": host})
    assert answer.status_code == 403 and "is not served" in answer.json()["error"]["message"]


@pytest.mark.parametrize("path, mode, dest, status", [
    ("/api/documents", "no-cors", "image", 403), ("/", "no-cors", "script", 403), ("/", "navigate", "iframe", 403),
    ("/api/documents", "navigate", "document", 403), ("/", "navigate", "document", 200),
    ("/playground", "navigate", "document", 200),
])  # fmt: skip
def test_a_page_of_another_site_makes_the_server_do_nothing_and_may_link_to_a_page(tmp_path, path, mode, dest, status):
    about = {"sec-fetch-mode": mode, "sec-fetch-dest": dest}
    for site in ("cross-site", "same-site"):
        headers = about | {"sec-fetch-site": site}
        assert ask(make_app(tmp_path), "GET", path, headers=headers).status_code == status
    for site in ("same-origin", "none"):
        assert ask(make_app(tmp_path), "GET", "/", headers=about | {"sec-fetch-site": site}).status_code == 200


@pytest.mark.parametrize("origin, status", [("http://localhost", 200), ("http://evil.example", 403), ("null", 403)])
def test_a_page_of_another_site_is_refused(app, origin, status):
    assert ask(app, "POST", "/echo", headers={"origin": origin}).status_code == status


def test_answers_say_what_browsers_may_do_with_them(app):
    for path in ("/echo", "/nowhere"):
        headers = ask(app, "GET", path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"


def test_the_token_is_wanted_from_everybody_and_in_any_of_three_ways():
    app = guarded(ROUTES, token="a b", hosts=None)
    assert ask(app, "GET", "/echo", "far.example").status_code == 401
    for wrong in ("Bearer a", "Basic a b", "Bearer", "a b", "Bearer \xff"):
        assert ask(app, "GET", "/echo", headers={"authorization": wrong.encode("latin-1")}).status_code == 401
    assert ask(app, "GET", "/echo", headers={"authorization": "Bearer a b"}).status_code == 200
    opened = ask(app, "GET", "/echo?token=a+b")
    assert opened.status_code == 303 and opened.headers["location"] == "/echo"
    assert "HttpOnly" in opened.headers["set-cookie"] and "SameSite=strict" in opened.headers["set-cookie"]
    cookie = {"cookie": opened.headers["set-cookie"].split(";")[0]}
    assert ask(app, "GET", "/echo", headers=cookie).status_code == 200
    assert ask(app, "GET", "/echo", "localhost:8001", headers=cookie).status_code == 401, "of another server's port"


@pytest.mark.parametrize(
    "path, goes_to",
    [("///evil.example/a?token=t", "/evil.example/a"), ("/?run=a%26b&token=t&empty=", "/?run=a%26b&empty=")],
)
def test_a_token_in_the_address_leads_to_this_server_with_the_other_parameters(path, goes_to):
    answer = ask(guarded(ROUTES, token="t", hosts=None), "GET", f"http://localhost{path}")
    assert answer.status_code == 303 and answer.headers["location"] == goes_to


@pytest.mark.parametrize("more, words", [(["--token", "naïve"], "ASCII"),
                                         (["--token", "abc", "--host", "0.0.0.0", "--port", "0"], "others may guess")])  # fmt: skip
def test_a_token_that_can_not_be_used_is_refused_at_the_start(tmp_path, more, words):
    said = call("serve", *more, cwd=tmp_path)
    assert said.status == 2 and words in said.err


def test_scripts_are_kept_and_asked_for_again(tmp_path):
    served = make_app(tmp_path)
    found = ask(served, "GET", "/static/live.js")
    assert found.status_code == 200 and found.headers["cache-control"] == "no-cache"
    same = ask(served, "GET", "/static/live.js", headers={"if-none-match": found.headers["etag"]})
    assert same.status_code == 304 and not same.content


def test_health_needs_no_token(tmp_path):
    assert ask(make_app(tmp_path, token="t", hosts=None), "GET", "/health", "far.example").json() == {"status": "ok"}


def test_a_body_that_is_too_large_is_refused_whether_it_says_so_or_not(app):
    async def pieces():
        for _ in range(11):
            yield b"x" * 100

    assert ask(app, "POST", "/echo", content=b"x" * 1000).status_code == 200
    assert ask(app, "POST", "/echo", content=b"x" * 1001).status_code == 413
    assert ask(app, "POST", "/echo", content=pieces()).status_code == 413


def test_a_body_that_does_not_come_is_not_waited_for(app):
    sent = []

    async def send(message):
        sent.append(message)

    async def never():
        await asyncio.sleep(60)

    asyncio.run(app(scope_of("/echo"), never, send))
    assert sent[0]["status"] == 408


def test_a_fault_of_ours_is_not_shown(app):
    answer = ask(app, "GET", "/fail")
    assert answer.status_code == 500 and "secret" not in answer.text
    assert answer.json()["error"]["type"] == "server_error"


def test_what_is_not_there_is_said_in_the_same_shape(app):
    assert ask(app, "GET", "/nowhere").json()["error"]["message"] == "there is nothing at /nowhere"
    assert ask(app, "DELETE", "/echo").json()["error"]["code"] == 405


@pytest.mark.parametrize("signal_name", ["SIGINT", "SIGTERM"])
def test_serve_says_its_address_and_ends_cleanly(tmp_path, signal_name):
    import signal

    command = [sys.executable, "-m", "headwater", "serve", "--port", "0"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment(), text=True, stdout=-1, stderr=-1) as process:
        said = process.stdout.readline()
        assert said.startswith("serving runs at http://127.0.0.1:"), said + process.stderr.read()
        port = int(said.rstrip("/\n").rsplit(":", 1)[1])
        taken = call("serve", "--port", str(port), cwd=tmp_path)
        assert taken.status == 2 and f"port {port} is in use by another program" in taken.err
        import httpx

        assert httpx.get(f"http://127.0.0.1:{port}/health", timeout=30).json() == {"status": "ok"}
        process.send_signal(getattr(signal, signal_name))
        assert (process.wait(30), process.stderr.read()) == (0, "")


def test_away_from_loopback_a_token_is_made_up(tmp_path):
    command = [sys.executable, "-m", "headwater", "serve", "--host", "0.0.0.0", "--port", "0"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment(), text=True, stdout=-1, stderr=-1) as process:
        said = process.stdout.readline()
        process.terminate()
    assert "/?token=" in said and len(said.split("token=")[1]) > 30


def test_serve_says_which_model_answers_where(tmp_path, monkeypatch, engine):
    monkeypatch.setattr(serving, "engine_of", lambda run, stack: (engine, tmp_path))
    monkeypatch.setattr("uvicorn.Server.run", lambda self, sockets: None)
    said = call("serve", "--run", "small", "--port", "0", cwd=tmp_path).out.splitlines()
    root = said[0].removeprefix("serving runs at ").rstrip("/")
    assert said[1:] == [f"small answers at {root}/v1"]


def test_a_program_opens_the_page_beside_itself_and_closes_it(tmp_path, monkeypatch, engine):
    import httpx

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(serving, "engine_of", lambda run, stack: (engine, tmp_path))
    with headwater.serve(run="small", port=0) as server:
        assert httpx.get(server.url, timeout=30).status_code == 200
        assert httpx.get(f"{server.api}/models", timeout=30).json()["data"][0]["id"] == server.model == "small"
        with pytest.raises(ConfigError, match="in use"):
            headwater.serve(port=int(server.url.rstrip("/").rsplit(":", 1)[1]))
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.url, timeout=30)
