"""The application that `headwater serve` runs: the routes of its parts behind one guard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route

from headwater.errors import HeadwaterError
from headwater.serve.guard import LOOPBACK_NAMES, REQUEST_LIMITS, Guard, RequestLimits
from headwater.serve.live import live
from headwater.serve.playground import playground
from headwater.serve.refusal import Refusal
from headwater.serve.served import Served

if TYPE_CHECKING:
    from headwater.serve.engine import Engine


Part = Callable[[Served], Sequence[BaseRoute]]


def health(served: Served) -> list[BaseRoute]:
    async def answer(request: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    return [Route("/health", answer)]


def openai(served: Served) -> Sequence[BaseRoute]:
    if served.engine is None:
        return []
    from headwater.serve.openai_routes import routes_of  # loads torch, which the page of runs goes without

    return routes_of(served.engine)


PARTS: tuple[Part, ...] = (health, live, playground, openai)
"What gives routes; of two that fit a path the first is asked."


def make_app(
    runs: Path,
    engine: Engine | None = None,
    token: str | None = None,
    hosts: frozenset[str] | None = LOOPBACK_NAMES,
    limits: RequestLimits = REQUEST_LIMITS,
    parts: Sequence[Part] = PARTS,
    documents: Callable[[Path, int], Any] | None = None,
) -> Starlette:
    """Return the application; bound to anything but loopback it takes a `token`, and `hosts` may be None: any."""
    served = Served(runs, engine, documents)
    return Starlette(
        routes=[route for part in parts for route in part(served)],
        middleware=[Middleware(Guard, hosts=hosts, token=token, limits=limits)],
        exception_handlers=dict.fromkeys((Refusal, HTTPException, HeadwaterError, Exception), _refused),
    )


def _refused(request: Request, error: Exception) -> JSONResponse:
    """Answer where a route raised an error: one of ours says why, any other stands in the log alone."""
    if isinstance(error, HTTPException):  # starlette's: no route has this path, or not this method
        known = {404: f"there is nothing at {request.url.path[:200]}", 405: f"{request.method} is not answered here"}
        error = Refusal(error.status_code, known.get(error.status_code, error.detail), headers=error.headers)
    elif isinstance(error, HeadwaterError):
        error = Refusal(400, str(error))
    elif not isinstance(error, Refusal):
        error = Refusal(500, "this is a fault of headwater's; its log says more")
    return error.response()
