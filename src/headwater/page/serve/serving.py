"""A server that listens: the page of the runs here, and a model behind OpenAI's interface."""

from __future__ import annotations

import errno
import secrets
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from headwater.core.errors import ConfigError, HeadwaterError
from headwater.page.serve.guard import HEADERS, LOOPBACK_NAMES, Guard, Refusal, make_server
from headwater.page.serve.live import DocumentPage, LivePage
from headwater.page.serve.playground import Playground
from headwater.runs.library import arguments as arg
from headwater.runs.library.arguments import checked, name_of
from headwater.runs.summary import RUNS, NoRunError, RunsFolder, folder_of_runs
from headwater.train.checkpoint.layout import step_of

if TYPE_CHECKING:
    from headwater.page.serve.engine import GenerationEngine


MIN_TOKEN_CHARACTERS = 16  # of one that others than this machine's users may try to guess


class Server:
    """A server that listens, and answers from `run` or `start` until `close`.

    `url` opens its page, with the token where it asks for one; `model` is the name of what answers at `api`, both None
    without a model. Raises ConfigError for an address, a port or a token that can't be.
    """

    def __init__(self, folder: Path, run: str | None, host: str, port: int, token: str | None) -> None:
        self.folder = folder_of_runs(folder, may_be_missing=folder == RUNS)
        if token is not None and not (token.isascii() and token.isprintable()):
            raise ConfigError("--token takes printable ASCII characters alone; a browser or a proxy may change others")
        with ExitStack() as stack:
            self._listener = stack.enter_context(_listen(host, port))
            address, port = self._listener.getsockname()[:2]
            is_loopback = address == "::1" or address.startswith("127.")
            token = _token(token, is_loopback)
            engine, answering = (None, None) if not run else engine_of(run, stack)
            hosts = LOOPBACK_NAMES | {host} if is_loopback else None
            self._server = make_server(make_app(self.folder, engine, token, hosts, answering))
            self._stack = stack.pop_all()
        root = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        self.url = f"{root}/?{urlencode({'token': token})}" if token else f"{root}/"
        self.model = None if engine is None else engine.name
        self.api = None if engine is None else f"{root}/v1"
        self._thread = threading.Thread(target=self.run, name="serve", daemon=True)

    def __repr__(self) -> str:
        return f"Server({self.url!r})"

    def run(self) -> None:
        """Answer requests until Ctrl-C, SIGTERM or `close`."""
        with suppress(KeyboardInterrupt):  # how uvicorn hands the signal on, once it has ended
            self._server.run(sockets=[self._listener])

    def start(self) -> Server:
        """Answer requests beside the program that calls."""
        if not self._thread.is_alive():
            self._thread.start()
        return self

    def close(self) -> None:
        """Let answers that are under way end, and free the address and the model."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join()
        self._stack.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


@checked
def serve(
    folder: arg.AnyPath = "runs",
    /,
    *,
    run: arg.AnyRun | None = None,
    host: arg.Text = "127.0.0.1",
    port: arg.Step = 8000,
    token: arg.Text | None = None,
) -> Server:
    """Show the runs of a folder on a page, and answer requests to the model of `run`, until the result is closed.

    `run` may be all that `Model.load` takes. Port 0 is a free one. On this machine alone, at 127.0.0.1, no token is
    needed; away from it one is made up where none is given. Raises ConfigError for an address, a port or a token that
    can't be.

        with headwater.serve(run="runs/mine", port=0) as server:
            print(server.url, server.api)
    """
    return Server(Path(folder), None if run is None else name_of(run), host, port, token).start()


def _token(given: str | None, is_loopback: bool) -> str | None:
    """Return the token that requests must bring: away from loopback one that others can't guess."""
    if given == "" or (given is None and not is_loopback):
        return secrets.token_urlsafe(24)
    if given is not None and len(given) < MIN_TOKEN_CHARACTERS and not is_loopback:
        raise ConfigError(
            f"--token has {len(given)} characters, which others may guess; away from loopback give "
            f"{MIN_TOKEN_CHARACTERS} or more, or leave it out: one is made up"
        )
    return given


def engine_of(run: str, stack: ExitStack) -> tuple[GenerationEngine, Path]:
    """Return what answers with the named model until the end of `stack`, and the folder or file of that model."""
    from headwater.machine.host.waiting import sleep_under_load
    from headwater.page.serve.engine import GenerationEngine
    from headwater.runs.library.model import Model

    stack.enter_context(sleep_under_load())
    model = Model.load(run)
    name = f"{model.name}/{Path(run).name}" if step_of(Path(run)) is not None else model.name
    engine = GenerationEngine(model.transformer, model.tokenizer, name, model.is_tuned)
    return stack.enter_context(closing(engine)), model.folder


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; raise ConfigError where that can't be."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except (OverflowError, UnicodeError, ValueError) as error:
        raise ConfigError(f"--host {host} --port {port}: {error}") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(f"port {port} is in use by another program; name a free one: --port {port + 1}") from None
        raise ConfigError(f"--host {host} --port {port}: {error.strerror or error}") from None


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
    routes: Sequence[BaseRoute], token: str | None = None, hosts: frozenset[str] | None = LOOPBACK_NAMES
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
