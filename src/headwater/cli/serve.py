"""The verb serve: the page of the runs here, and a model behind OpenAI's interface."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from headwater.cli.arguments import A_MODEL, argument, option
from headwater.cli.terminal import say
from headwater.cli.verbs import App


def add_to(app: App) -> None:
    app.verb(serve)


def serve(
    folder: Annotated[str, argument("[FOLDER]", "The folder of runs that the page shows.")] = "runs",
    run: Annotated[
        str | None,
        option("RUN", f"The model that answers. {A_MODEL}", "--run", "-r"),
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
    from headwater.page.serve.serving import Server

    with Server(Path(folder), run, host, port, token) as server:
        say(f"serving {server.folder} at {server.url}")
        if server.model is not None:
            say(f"{server.model} answers at {server.api}")
        server.run()
