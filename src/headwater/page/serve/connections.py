"""The connections of a server: how long one may wait for its client, and how many may do so at once.

uvicorn waits without end for a request's head, for an answer to be read, and for the rest of a body that nobody reads.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast

from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol

from headwater.page.serve.guard import ADMIT

if TYPE_CHECKING:
    from starlette.applications import Starlette

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
