"""An answer that is sent as it is made."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

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
