"""Who may ask: by which host, from which page, with which token, and how much at once."""

from __future__ import annotations

import asyncio
import re
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
from headwater.page.serve.serving import guarded, make_app


async def echo(request: Request) -> PlainTextResponse:
    return PlainTextResponse(await request.body())


async def fail(request: Request) -> PlainTextResponse:
    raise RuntimeError("a secret of the program's")


ROUTES = [Route("/echo", echo, methods=["GET", "POST"]), Route("/fail", fail)]


TOKEN = {"token": "a b", "hosts": None}
"Of a server that others reach, too."
FROM = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document", "sec-fetch-site": "none"}
"What a browser says of an address that somebody typed."


async def too_much():
    for _ in range(11):
        yield b"x" * 100


def bearer(words: str) -> dict[str, bytes]:
    return {"authorization": words.encode("latin-1")}


ASKED = [  # what the server wants, request, headers, status
    *[({}, f"GET http://{host}/echo", {}, 200) for host in ("localhost", "127.0.0.1:8000", "[::1]:8000", "LOCALHOST")],
    # a name that was made to lead here
    *[({}, "GET /echo", {"host": host}, 403) for host in (
        "evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8000", "", "[", "a@b", "evil@localhost", "localhost/evil",
    )],
    # a page of another site
    ({}, "POST /echo", {"origin": "http://localhost"}, 200),
    ({}, "POST /echo", {"origin": "http://evil.example"}, 403),
    ({}, "POST /echo", {"origin": "null"}, 403),
    *[({}, f"GET {path}", {"sec-fetch-site": site, "sec-fetch-mode": mode, "sec-fetch-dest": dest}, status)
      for site in ("cross-site", "same-site")
      for path, mode, dest, status in [
          ("/api/documents", "no-cors", "image", 403), ("/", "no-cors", "script", 403), ("/", "navigate", "iframe", 403),
          ("/api/documents", "navigate", "document", 403), ("/", "navigate", "document", 200), ("/playground", "navigate", "document", 200),
      ]],
    *[({}, path, FROM | {"sec-fetch-site": site}, 200) for path in ("GET /", "GET /playground") for site in ("same-origin", "none")],
    # the token, in one of three ways; /health is for everybody
    (TOKEN, "GET http://far.example/echo", {}, 401),
    (TOKEN, "GET http://far.example/health", {}, 200),
    *[(TOKEN, "GET /echo", bearer(wrong), 401) for wrong in ("Bearer a", "Basic a b", "Bearer", "a b", "Bearer \xff")],
    (TOKEN, "GET /echo", bearer("Bearer a b"), 200),
    (TOKEN, "GET /echo?token=a+b", {}, 303),
    (TOKEN, "GET /echo?token=a", {}, 401),
    # how much, what, and how
    ({}, ("POST /echo", b"x" * 1000), {}, 200),
    ({}, ("POST /echo", b"x" * 1001), {}, 413),
    ({}, ("POST /echo", too_much), {}, 413),
    *[({}, f"GET /{path}", {}, 404) for path in (
        "nowhere", "api/run?run=..%2F..", "api/compare?run=%2Fetc", "api/documents?run=a%00", "static/..%2Fapp.py", "static/live.py",
    )],
    ({}, "DELETE /echo", {}, 405),
    ({}, "GET /fail", {}, 500),
]  # fmt: skip


@pytest.mark.parametrize(
    ("server", "request_", "headers", "status"), ASKED, ids=lambda value: re.sub(" at 0x.*", "", repr(value))[:60]
)
def test_who_may_ask_for_what(tmp_path, monkeypatch, server, request_, headers, status):
    monkeypatch.setattr(guard, "MAX_BODY_BYTES", 1000)
    asked, body = request_ if isinstance(request_, tuple) else (request_, None)
    method, path = asked.split(" ", 1)
    app = guarded([*make_app(tmp_path).routes, *ROUTES], **server)
    answer = ask(app, method, path, headers=headers, content=body() if callable(body) else body)
    assert answer.status_code == status
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["cache-control"] == "no-store"
    if status >= 400:
        error = answer.json()["error"]
        assert error["code"] == status and error["message"] and "secret" not in answer.text
        assert error["type"] == ("server_error" if status == 500 else error["type"])


def test_the_cookie_is_for_this_port_alone_and_no_script_reads_it():
    app = guarded(ROUTES, **TOKEN)
    opened = ask(app, "GET", "/echo?token=a+b")
    assert "HttpOnly" in opened.headers["set-cookie"] and "SameSite=strict" in opened.headers["set-cookie"]
    cookie = {"cookie": opened.headers["set-cookie"].split(";")[0]}
    assert ask(app, "GET", "/echo", headers=cookie).status_code == 200
    assert ask(app, "GET", "/echo", "localhost:8001", headers=cookie).status_code == 401


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


def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.05)
    app, sent = guarded(ROUTES), []

    async def send(message):
        sent.append(message)

    async def never():
        await asyncio.sleep(60)

    asyncio.run(app(scope_of("/echo"), never, send))
    assert sent[0]["status"] == 408


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
