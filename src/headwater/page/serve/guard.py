"""What stands before every route: who may ask, how large a request is, and what browsers may do with an answer.

And the connections: how long one may wait for its client, and how many may do so at once. uvicorn waits without end
for a request's head, for an answer to be read, and for the rest of a body that nobody reads.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import quote, urlencode, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse


ADMIT = "headwater.admit"
"The extension of ASGI by which a connection learns that its client brought what it must."
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
PAGES = frozenset({"/", "/playground"})
"Where a link on another site may lead; a request that such a site makes by itself is refused."
MAX_BODY_BYTES, BODY_SECONDS = 1 << 20, 20.0  # of a request, and in which these must have come
HEADERS = {
    # plotly sets styles of its own; scripts, fonts and pictures come from here alone
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """Lets through to `app` what may pass, and adds HEADERS to every answer that doesn't say otherwise.

    hosts   the names by which a browser may ask; a page elsewhere whose name was made to lead here (DNS rebinding) has
            another. None: any
    token   what a request must bring: as `Authorization: Bearer TOKEN`, or in the cookie that `/?token=TOKEN` sets,
            which has the port in its name, as browsers send it to each. None: nothing. /health is for everybody
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str] | None, token: str | None) -> None:
        self._app, self._hosts, self._token = app, hosts, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # no route speaks WebSocket
            await send({"type": "websocket.close", "code": 1008})
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            answer = self._answer_before(HTTPConnection(scope))
        except Refusal as refusal:
            answer = refusal.response()
        if answer is None:
            await self._app(scope, self._limited(receive), send_with_headers)
        else:
            await answer(scope, receive, send_with_headers)

    def _answer_before(self, connection: HTTPConnection) -> Response | None:
        """Return the answer of a request that goes no further, or None; raise Refusal for one that may not."""
        headers = connection.headers
        host = headers.get("host", "")
        name, port = _name_and_port(host)
        if self._hosts is not None and name not in self._hosts:
            raise Refusal(
                403, f"the host {host[:100]!a} is not served; ask for one of {', '.join(sorted(self._hosts))}"
            )
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != host:
            raise Refusal(403, "pages of other sites may not ask here")
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not (
            headers.get("sec-fetch-mode") == "navigate"
            and headers.get("sec-fetch-dest") == "document"
            and connection.scope["path"] in PAGES
        ):
            raise Refusal(403, "pages of other sites may not ask here; a link of theirs may lead to a page alone")
        if headers.get("content-length", "0").isdigit():
            _require_size(int(headers.get("content-length", "0")))
        if self._token is None:
            _admit(connection)
            return None
        cookie = f"headwater-token-{port}"
        if self._is_token(connection.query_params.get("token", "")):
            answer = RedirectResponse(_without_token(connection), 303)
            answer.set_cookie(cookie, self._token, httponly=True, samesite="strict")
            return answer
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if (scheme.lower() == "bearer" and self._is_token(given)) or self._is_token(connection.cookies.get(cookie, "")):
            _admit(connection)
        elif connection.scope["path"] != "/health":
            raise Refusal(
                401,
                "this server wants its token, as Authorization: Bearer TOKEN or, in a browser, /?token=TOKEN",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return None

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.strip().encode(), str(self._token).encode())

    def _limited(self, receive: Receive) -> Receive:
        """Return what receives a body, and raises Refusal where that is too large or doesn't come."""
        num_bytes, is_whole, until = 0, False, asyncio.get_running_loop().time() + BODY_SECONDS

        async def receive_limited() -> Message:
            nonlocal num_bytes, is_whole
            if is_whole:  # what comes now is the client's leaving
                return await receive()
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError:
                raise Refusal(408, f"the body didn't come within {BODY_SECONDS:g} s") from None
            num_bytes += len(message.get("body", b""))
            _require_size(num_bytes)
            is_whole = not message.get("more_body", False)
            return message

        return receive_limited


def _admit(connection: HTTPConnection) -> None:
    """Say that a client brought what it must: its connection is kept longer than those of others."""
    connection.scope.get("extensions", {}).get(ADMIT, lambda: None)()


def _require_size(num_bytes: int) -> None:
    if num_bytes > MAX_BODY_BYTES:
        raise Refusal(413, f"the body has more than {MAX_BODY_BYTES:,} bytes, which is the most that is read")


def _without_token(connection: HTTPConnection) -> str:
    """Return the path here of a request, with its parameters but for the token."""
    others = urlencode([(name, value) for name, value in connection.query_params.multi_items() if name != "token"])
    path = "/" + quote(connection.scope["path"].lstrip("/"))  # two slashes would name another host
    return f"{path}?{others}" if others else path


def _name_and_port(host: str) -> tuple[str, int | None]:
    """Return the name in a Host header, and its port if it has one; "" of one that names nothing."""
    if set(host) & set("@/?#\\"):
        return "", None
    try:
        parts = urlsplit(f"//{host}")
        return parts.hostname or "", parts.port
    except ValueError:
        return "", None


_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


class Refusal(Exception):
    """An answer other than what was asked for: `message` says what is wrong and what to do, `param` where it is."""

    def __init__(
        self, status: int, message: str, param: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.param, self.headers = status, param, headers
        self.message = message.encode("utf-8", "backslashreplace").decode()  # it may quote what isn't Unicode

    def body(self) -> dict[str, dict[str, str | int | None]]:
        kind = _TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.status}}

    def response(self) -> JSONResponse:
        from starlette.responses import JSONResponse  # what prints runs in a terminal goes without it

        return JSONResponse(self.body(), self.status, self.headers)


LAST_SECONDS = 2  # for answers that are under way when the server ends
HEAD_SECONDS = 10.0  # in which the whole head of a request must come, also of the next one
READ_SECONDS, READ_BYTES = 30.0, 1 << 16  # in which a client must read so much of an answer that waits for it
TRIM_SECONDS = 0.5  # a busy machine may need as long to read what has come
MAX_STRANGERS, MAX_ADMITTED = 128, 128  # connections that wait for a client that brought no token yet; for one that did
MAX_CONNECTIONS = 768  # of all: what is left are requests that are being answered; more are refused by 503


def make_server(app: Starlette) -> Server:
    """Return the server of an application; `run(sockets=[listener])` serves until it is told to end."""
    config = Config(
        app,
        http=cast(Any, partial(Connection, waiting=WaitingConnection())),
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=LAST_SECONDS,
        limit_concurrency=MAX_CONNECTIONS,
        backlog=MAX_STRANGERS,  # also the most that are accepted before any of them is read
        h11_max_incomplete_event_size=65536,
        ws="none",
    )
    return Server(config)


class WaitingConnection:
    """The connections of a server that wait for their clients.

    Where there are too many, the one that has waited longest is closed: a client that is at work always finds a place,
    and one that brought the token doesn't lose it to those that didn't.
    """

    def __init__(self) -> None:
        self._strangers: dict[Connection, None] = {}
        self._admitted: dict[Connection, None] = {}
        self._trimming: asyncio.TimerHandle | None = None

    def add(self, connection: Connection, is_admitted: bool) -> None:
        self.discard(connection)
        several, most = (self._admitted, MAX_ADMITTED) if is_admitted else (self._strangers, MAX_STRANGERS)
        several[connection] = None
        if len(several) > most and self._trimming is None:  # later: requests that have come by then are read first
            self._trimming = connection.loop.call_later(TRIM_SECONDS, self.trim)

    def trim(self, spared: Connection | None = None) -> None:
        """Close those that are too many, but for `spared`."""
        if self._trimming is not None:
            self._trimming.cancel()
            self._trimming = None
        for several, most in ((self._strangers, MAX_STRANGERS), (self._admitted, MAX_ADMITTED)):
            for connection in list(several)[: max(0, len(several) - most)]:
                if connection is not spared:
                    connection.end()

    def discard(self, connection: Connection) -> None:
        self._strangers.pop(connection, None)
        self._admitted.pop(connection, None)


class Connection(H11Protocol):
    """One connection, which waits for its client while no whole request is there or an answer isn't read."""

    def __init__(self, *given: Any, waiting: WaitingConnection, **more: Any) -> None:
        super().__init__(*given, **more)
        self._waiting, self._is_admitted = waiting, False
        self._waits_for: Literal["head", "body", "reading"] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._num_unread = 0

    def end(self) -> None:
        """Close now; what a client doesn't read is not sent."""
        self._stop_waiting()
        self.connections.discard(self)
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:  # what was sent may be read still
            self.transport.close()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.loop.call_soon(self.loop.call_soon, self._update)  # once what it may have sent already is read

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        before = self.cycle
        if len(self.connections) >= MAX_CONNECTIONS:  # else uvicorn refuses what has come
            self._waiting.trim(spared=self)
        super().handle_events()
        if self.cycle is not before:  # its task begins later
            self.scope["extensions"] = cast(Any, {ADMIT: self._admit})
        self._update()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._update()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._update()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._update()

    def _admit(self) -> None:
        self._is_admitted = True
        if self._waits_for is not None:
            self._waiting.add(self, True)

    def _update(self) -> None:
        """Begin or end to wait, as the connection is now; what waits already goes on: a trickle gains no time."""
        waits_for: Literal["head", "body", "reading"] | None = None
        if self.flow.write_paused:
            waits_for = "reading"
        elif self.cycle is None or self.cycle.response_complete:
            waits_for = "head"
        elif self.cycle.more_body:
            waits_for = "body"  # the guard knows how long
        if waits_for == self._waits_for or self not in self.connections:
            return
        self._stop_waiting()
        if waits_for is not None:
            self._waits_for = waits_for
            self._waiting.add(self, self._is_admitted)
            self._start_timer()

    def _start_timer(self) -> None:
        self._num_unread = self.transport.get_write_buffer_size()
        seconds = {"head": HEAD_SECONDS, "reading": READ_SECONDS}.get(str(self._waits_for))
        if seconds is not None and self in self.connections:
            self._timer = self.loop.call_later(seconds, self._end_of_time)

    def _end_of_time(self) -> None:
        if self._waits_for == "reading" and self._num_unread - self.transport.get_write_buffer_size() >= READ_BYTES:
            self._start_timer()
        else:
            self.end()

    def _stop_waiting(self) -> None:
        self._waits_for = None
        self._waiting.discard(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
