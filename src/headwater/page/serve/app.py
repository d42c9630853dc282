"""The application that `headwater serve` runs: its pages and what they ask, and a model's routes, behind one guard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from headwater.core.errors import HeadwaterError
from headwater.page.serve.documents import DocumentPage
from headwater.page.serve.guard import HEADERS, LOOPBACK_NAMES, Guard
from headwater.page.serve.live import LivePage
from headwater.page.serve.playground import Playground
from headwater.page.serve.refusal import Refusal
from headwater.runs.summary import NoRunError, RunsFolder

if TYPE_CHECKING:
    from headwater.page.serve.engine import GenerationEngine

ASSETS = [("headwater.page.serve", "assets"), ("headwater.page.picture", "assets"), ("plotly", "package_data")]
PAGES = {"/": "live.html", "/playground": "playground.html", "/documents": "documents.html"}


def make_app(
    runs: Path,
    engine: GenerationEngine | None = None,
    token: str | None = None,
    hosts: frozenset[str] | None = LOOPBACK_NAMES,
    answering: Path | None = None,
) -> Starlette:
    """Return the application: the pages of a folder of runs, and a model's routes where one answers.

    The playground begins with the run `answering`, where that is one of the folder.
    """
    folder = RunsFolder(runs)
    routes = [
        Route("/health", _health),
        *(Route(path, _page_of(name)) for path, name in PAGES.items()),
        Mount("/static", _Assets(packages=list(ASSETS)), middleware=[Middleware(GZipMiddleware, compresslevel=6)]),
        *LivePage(folder).routes(),
        *Playground(folder, answering).routes(),
        *DocumentPage(folder).routes(),
    ]
    if engine is not None:
        from headwater.page.serve.openai_routes import OpenAI  # loads torch, which the page of runs goes without

        routes += OpenAI(engine).routes()
    return guarded(routes, token, hosts)


def guarded(
    routes: Sequence[BaseRoute],
    token: str | None = None,
    hosts: frozenset[str] | None = LOOPBACK_NAMES,
) -> Starlette:
    """Return routes behind a guard; bound to anything but loopback it takes a `token`, and `hosts` may be None: any."""
    return Starlette(
        routes=routes,
        middleware=[Middleware(Guard, hosts=hosts, token=token)],
        exception_handlers=dict.fromkeys((Refusal, HTTPException, HeadwaterError, Exception), _refused),
    )


async def _health(request: Request) -> JSONResponse:
    return JSONResponse({"status": "ok"})


def _page_of(name: str) -> Callable[[Request], FileResponse]:
    path = str(resources.files("headwater.page.serve") / "assets" / name)
    return lambda request: FileResponse(path)


class _Assets(StaticFiles):
    """Scripts and style sheets; a browser keeps them, and asks each time whether they have changed."""

    def file_response(self, *arguments: Any, **more: Any) -> Response:
        response = super().file_response(*arguments, **more)
        response.headers["Cache-Control"] = "no-cache"
        return response


def _refused(request: Request, error: Exception) -> JSONResponse:
    """Answer where a route raised an error: one of ours says why, any other stands in the log alone."""
    if isinstance(error, HTTPException):  # starlette's: no route has this path, or not this method
        known = {404: f"there is nothing at {request.url.path[:200]}", 405: f"{request.method} is not answered here"}
        error = Refusal(error.status_code, known.get(error.status_code, error.detail), headers=error.headers)
    elif isinstance(error, NoRunError):
        error = Refusal(404, str(error), "run")
    elif isinstance(error, HeadwaterError):
        error = Refusal(400, str(error))
    elif not isinstance(error, Refusal):
        error = Refusal(500, "this is a fault of headwater's; its log says more")
    answer = error.response()
    answer.headers.update(HEADERS)  # one of 500 comes from outside the guard
    return answer
