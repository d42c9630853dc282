"""Requests to an application in this process."""

from __future__ import annotations

import asyncio
import json
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


def post(app: ASGIApp, path: str, body: object) -> httpx.Response:
    """Return the answer to a body: bytes as they are, anything else as JSON."""
    return ask(app, "POST", path, content=body if isinstance(body, bytes) else json.dumps(body).encode())


def scope_of(path: str) -> dict[str, Any]:
    """Return what a server hands an application with a POST."""
    return {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": [(b"host", b"localhost")]}
