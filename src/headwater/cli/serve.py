"""The verb serve: the page of the runs here, and a model behind OpenAI's interface."""

from __future__ import annotations

import errno
import secrets
import socket
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlencode

from headwater.cli.arguments import A_MODEL, argument, option
from headwater.cli.overview import RUNS, folder_of_runs
from headwater.cli.terminal import say
from headwater.cli.verbs import App
from headwater.core.errors import ConfigError
from headwater.train.checkpoint.layout import step_of

if TYPE_CHECKING:
    from headwater.page.serve.engine import Engine

MIN_TOKEN_CHARACTERS = 16  # of one that others than this machine's users may try to guess


def add_to(app: App) -> None:
    app.verb(serve)


def serve(
    folder: Annotated[str, argument("[FOLDER]", "The folder of runs that the page shows.")] = "runs",
    run: Annotated[
        str | None,
        option(
            "RUN",
            f"The model that answers. {A_MODEL}",
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
        elif token is not None and len(token) < MIN_TOKEN_CHARACTERS and not is_loopback:
            raise ConfigError(
                f"--token has {len(token)} characters, which others may guess; away from loopback give "
                f"{MIN_TOKEN_CHARACTERS} or more, or leave it out: one is made up"
            )
        from headwater.page.serve.app import make_app
        from headwater.page.serve.connections import make_server
        from headwater.page.serve.guard import LOOPBACK_NAMES

        hosts = LOOPBACK_NAMES | {host} if is_loopback else None
        engine, answering = (None, None) if not run else _engine(run, stack)
        app = make_app(shown_runs, engine, token, hosts, answering)
        shown = f"[{host}]" if ":" in host else host
        query = f"/?{urlencode({'token': token})}" if token else "/"
        root = f"http://{shown}:{listener.getsockname()[1]}"
        say(f"serving {shown_runs} at {root}{query}")
        if engine is not None:
            say(f"{engine.name} answers at {root}/v1")
        with suppress(KeyboardInterrupt):  # how uvicorn hands the signal on, once it has ended
            make_server(app).run(sockets=[listener])


def _engine(run: str, stack: ExitStack) -> tuple[Engine, Path]:
    """Return what answers with the named model until the end of `stack`, and the folder or file of that model."""
    from headwater.machine.host.waiting import sleep_under_load
    from headwater.page.serve.engine import Engine
    from headwater.runs.library.model import Model

    stack.enter_context(sleep_under_load())
    model = Model.load(run)
    name = f"{model.name}/{Path(run).name}" if step_of(Path(run)) is not None else model.name
    engine = Engine(model.transformer, model.tokenizer, name, model.is_tuned)
    return stack.enter_context(closing(engine)), model.folder


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
