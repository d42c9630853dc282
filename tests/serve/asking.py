"""Requests to an application in this process, and to a server in its own."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
from starlette.types import ASGIApp


def ask(app: ASGIApp, method: str, path: str, host: str = "localhost", **more: Any) -> httpx.Response:
    """Return the answer of `app` to one request."""

    async def one() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
            return await client.request(method, path, **more)

    return asyncio.run(one())
