"""The verb serve: the page of the runs here, and a model behind OpenAI's interface."""

from __future__ import annotations

import errno
import secrets
import socket
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlencode

from headwater.cli.arguments import argument, option
from headwater.cli.overview import RUNS, folder_of_runs
from headwater.cli.terminal import say
from headwater.cli.verbs import App
from headwater.errors import ConfigError

if TYPE_CHECKING:
    from starlette.applications import Starlette

LAST_SECONDS = 2  # for answers that are under way when the server ends
MAX_CONNECTIONS = 512


def add_to(app: App) -> None:
    app.verb(serve)


def serve(
    folder: Annotated[str, argument("[FOLDER]", "The folder of runs that the page shows.")] = "runs",
    run: Annotated[
        str | None,
        option(
            "RUN",
            "The model that answers: a run, one of its checkpoints, a Hugging Face folder or a .gguf file.",
            "--run",
            "-r",
        ),
    ] = None,
    host: Annotated[
        str, option("ADDRESS", "The address to answer at; 0.0.0.0 is every one of this machine.")
    ] = "127.0.0.1",
    port: Annotated[int, option("N", "The port; 0 takes a free one.", min=0, max=65535)] = 8000,
    token: Annotated[
        str | None,
        option("TEXT", "What a request must bring; away from loopback one is made up.", envvar="HEADWATER_TOKEN"),
    ] = None,
) -> None:
    """Show runs on a page, and answer requests to a model.

    It answers on this machine alone, without a token, unless --host says otherwise. Ctrl-C ends it.
    """
    shown_runs = folder_of_runs(Path(folder), may_be_missing=Path(folder) == RUNS)
    if token is not None and not (token.isascii() and token.isprintable()):
        raise ConfigError("--token takes printable ASCII characters alone; a browser or a proxy may change others")
    with ExitStack() as stack:
        listener = stack.enter_context(_listen(host, port))
        address = listener.getsockname()[0]
        is_loopback = address == "::1" or address.startswith("127.")
        if token == "" or (token is None and not is_loopback):
            token = secrets.token_urlsafe(24)
        from headwater.serve.app import make_app
        from headwater.serve.guard import LOOPBACK_NAMES

        hosts = LOOPBACK_NAMES | {host} if is_loopback else None
        engine = None
        if run:
            from headwater.host.waiting import sleep_under_load
            from headwater.serve.loading import open_engine

            stack.enter_context(sleep_under_load())
            engine = stack.enter_context(closing(open_engine(run)))
        app = make_app(shown_runs, engine, token, hosts)
        shown = f"[{host}]" if ":" in host else host
        query = f"/?{urlencode({'token': token})}" if token else "/"
        root = f"http://{shown}:{listener.getsockname()[1]}"
        say(f"serving {shown_runs} at {root}{query}")
        if engine is not None:
            say(f"{engine.name} answers at {root}/v1")
        with suppress(KeyboardInterrupt):  # how uvicorn hands the signal on, once it has ended
            _run(app, listener)


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; raise ConfigError where that can't be."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OverflowError as error:
        raise ConfigError(f"--port {port}: {error}") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(f"port {port} is in use by another program; name a free one: --port {port + 1}") from None
        why = error.strerror or str(error)
        raise ConfigError(f"--host {host} --port {port}: {why}") from None


def _run(app: Starlette, listener: socket.socket) -> None:
    import uvicorn

    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=LAST_SECONDS,
        limit_concurrency=MAX_CONNECTIONS,
        h11_max_incomplete_event_size=65536,
        ws="none",
    )
    uvicorn.Server(config).run(sockets=[listener])
