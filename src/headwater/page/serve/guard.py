"""What stands before every route: who may ask, how large a request is, and what browsers may do with an answer."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

if TYPE_CHECKING:
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
