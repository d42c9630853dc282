"""What a client may keep a server waiting for, over real sockets."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from itertools import chain, repeat
from urllib.parse import urlsplit

import pytest
from live_server import serving
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from headwater.page.serve import guard as connections
from headwater.page.serve.serving import guarded, make_app
from headwater.runs.library.model import Model

TOKEN = "a token of this test"
HALF_A_HEAD = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
WHOLE = HALF_A_HEAD.replace(b"health", b"quick") + b"\r\n"
UNREAD_BODY = HALF_A_HEAD + b"Content-Length: 1000000\r\n\r\n"
NUM_HALF_OPEN, NUM_STREAMS = 600, 40


async def quick(request: Request) -> PlainTextResponse:
    return PlainTextResponse("yes")


async def endless(request: Request) -> StreamingResponse:
    async def chunks():
        for chunk in repeat(b"x" * 65536):
            yield chunk
            await asyncio.sleep(0)  # else it would never learn that the client has left

    return StreamingResponse(chunks())


def opened(stack: ExitStack, address: str, data: bytes = b"") -> socket.socket:
    url = urlsplit(address)
    client = stack.enter_context(closing(socket.create_connection((url.hostname, url.port), timeout=30)))
    client.sendall(data)
    return client


@pytest.mark.parametrize(
    ("whole", "trickle"),
    [(b"", b""), (b"", HALF_A_HEAD * 9), (WHOLE, b""), (WHOLE, HALF_A_HEAD * 9), (UNREAD_BODY, b"x" * 500)],
    ids=["silent", "head by the byte", "idle", "second head by the byte", "body that nobody reads"],
)
def test_a_client_that_asks_nothing_whole_is_not_waited_for(monkeypatch, whole, trickle):
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.3)
    with serving(guarded([Route("/quick", quick)])) as address, ExitStack() as stack:
        client = opened(stack, address, whole)
        client.settimeout(0.02)
        for byte in chain(trickle, repeat(None, 1000)):
            try:
                if byte is not None:
                    client.send(bytes([byte]))
                if not client.recv(65536):
                    return
            except TimeoutError:
                continue
            except ConnectionError:
                return
    pytest.fail("the server waited to the end")


def test_an_answer_that_is_not_read_ends(monkeypatch):
    monkeypatch.setattr(connections, "READ_SECONDS", 0.2)
    with serving(guarded([Route("/endless", endless), Route("/quick", quick)])) as address, ExitStack() as stack:
        client = opened(stack, address, WHOLE.replace(b"quick", b"endless"))
        client.settimeout(30)
        time.sleep(1)  # nothing is read meanwhile
        with pytest.raises(ConnectionError):
            while client.recv(1 << 20):
                pass
            raise ConnectionResetError("ended, which is as good")


def test_clients_that_ask_nothing_leave_room_for_those_that_do(finished):
    """600 connections with half a request, and 40 streams that nobody reads: one with the token is answered."""
    step = max(Model.steps(finished.run_dir))
    body = json.dumps({"run": "mine", "step": step, "text": "The river", "max_tokens": 500}).encode()
    head = f"POST /playground/write HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {len(body)}"
    url_of = {"Authorization": f"Bearer {TOKEN}"}
    app = make_app(finished.run_dir.parent, token=TOKEN, hosts=None)
    with serving(app) as address, ExitStack() as stack:
        url = urlsplit(address)
        known, new = (
            stack.enter_context(closing(HTTPConnection(url.hostname, url.port, timeout=20))) for _ in range(2)
        )
        known.auto_open = 0  # it stays the connection that it is
        known.connect()
        streams: list[socket.socket] = []
        for _ in range(2):
            known.request("GET", "/health", headers=url_of)
            assert json.load(known.getresponse()) == {"status": "ok"}
            streams += [opened(stack, address, f"{head}\r\n\r\n".encode() + body) for _ in range(NUM_STREAMS)]
            for _ in range(NUM_HALF_OPEN):
                opened(stack, address, HALF_A_HEAD)
            new.request("GET", "/health", headers=url_of)
            assert json.load(new.getresponse()) == {"status": "ok"}
            new.close()
        statuses = {stream.recv(12).decode() for stream in streams}
    assert statuses == {"HTTP/1.1 200", "HTTP/1.1 429"}
