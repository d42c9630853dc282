"""An answer that is sent as it is made: whole characters of its text, up to the first stop string."""

from __future__ import annotations

import codecs
from collections.abc import AsyncIterator, Callable, Sequence

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send


class ReleasingStream(StreamingResponse):
    """A stream that calls `release` at its end, also where the client left before `chunks` began."""

    def __init__(self, chunks: AsyncIterator[str | bytes], media_type: str, release: Callable[[], None]) -> None:
        super().__init__(chunks, media_type=media_type)
        self._release = release

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._release()


class GrowingText:
    """Bytes in, text out; what may be the beginning of a stop string is held back until it is known to be none."""

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._stops = stops
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self.is_stopped = False
        self.num_characters = 0  # decoded, those held back included

    def add(self, data: bytes) -> str:
        """Return the text that is certain now and wasn't before."""
        return self._certain(self._decoder.decode(data))

    def finish(self) -> str:
        """Return what is left, when nothing more comes; bytes that are no whole character as U+FFFD."""
        found = self._certain(self._decoder.decode(b"", final=True))
        if not self.is_stopped:
            found, self._held = found + self._held, ""
        return found

    def _certain(self, more: str) -> str:
        if self.is_stopped:
            return ""
        self._held += more
        self.num_characters += len(more)
        places = [place for stop in self._stops if (place := self._held.find(stop)) >= 0]
        if places:
            self.is_stopped = True
            self.num_characters -= len(self._held) - min(places)
            return self._held[: min(places)]
        num_held = max((_overlap(self._held, stop) for stop in self._stops), default=0)
        certain, self._held = self._held[: len(self._held) - num_held], self._held[len(self._held) - num_held :]
        return certain


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of `text` with which `stop` begins."""
    return next((size for size in range(min(len(text), len(stop) - 1), 0, -1) if stop.startswith(text[-size:])), 0)
