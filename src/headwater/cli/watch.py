"""What shows the runs of a folder: `headwater` alone, and the verbs watch and serve."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Annotated

from headwater.cli import verbs as arg
from headwater.cli.terminal import columns, print_json, safe, say
from headwater.cli.verbs import A_MODEL, App, argument, flag, option
from headwater.core.printable import printable
from headwater.runs.summary import HEADS, RUNS, RunsFolder, folder_of_runs

EVERY_SECONDS = 1.0
STYLES = {"running": "cyan", "finished": "green", "killed": "red", "damaged": "red"}


def add_to(app: App) -> None:
    app.verb(watch)
    app.verb(serve)


def watch(
    folder: Annotated[Path, argument("[FOLDER|RUN]", "A folder of runs, or the folder of one.")] = RUNS,
    once: Annotated[bool, flag("--once", "Print the table once, as it is.")] = False,
    as_json: arg.AsJson = False,
) -> None:
    """Show the runs here, one line each, as they go.

    On a terminal it follows them until Ctrl-C; elsewhere it prints them once. It reads records alone, so that it can
    be called beside training, after a crash, and of runs that were copied from another machine.
    """
    runs = RunsFolder(folder_of_runs(folder))
    if as_json:
        print_json({"folder": str(runs.folder), "runs": [summary.as_json() for summary in runs.summaries()]})
    elif once or not sys.stdout.isatty():
        print(*_lines(runs), sep="\n")
    else:
        with suppress(KeyboardInterrupt):
            _follow(runs)


def _lines(runs: RunsFolder) -> list[str]:
    found = runs.summaries()
    if not found:
        return [f"no run in {printable(str(runs.folder))} yet; `headwater run first-light` makes one"]
    damage = [printable(f"{run.name}: {run.damage}") for run in found if run.damage]
    return [*columns([HEADS, *(run.cells for run in found)], "<<"), *damage]


def _follow(runs: RunsFolder) -> None:
    from rich.live import Live
    from rich.text import Text

    def shown() -> Text:
        # as plain text: a name may hold rich's own marks
        text = Text("\n".join([*_lines(runs), "", "Ctrl-C ends this; training goes on"]), no_wrap=True)
        for state, style in STYLES.items():
            text.highlight_words([f" {state} "], style)
        return text

    with Live(shown(), auto_refresh=False) as live:
        while True:
            time.sleep(EVERY_SECONDS)
            live.update(shown(), refresh=True)


def serve(
    folder: Annotated[str, argument("[FOLDER]", "The folder of runs that the page shows.")] = "runs",
    run: Annotated[str | None, option("RUN", f"The model that answers. {A_MODEL}", "--run", "-r")] = None,
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


EXAMPLES = (
    ("headwater run first-light", "a model of real text, in about five minutes"),
    ("headwater new mine --text FOLDER", "a run file for your own text"),
    ("headwater -h", "all verbs"),
)


def show_overview() -> None:
    """Print the recipes, the runs in runs/ and three commands."""
    print("recipes")
    for path in sorted(Path(str(resources.files("headwater.runfile") / "recipes")).glob("*.toml")):
        comment = path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
        print(f"  {path.stem:<12} {comment}")
    found = sorted(RunsFolder(RUNS).summaries(), key=lambda run: run.name)
    runs = [run for run in found if "/" not in run.name]  # no rungs of ladders
    print("\nruns here" if runs else "\nno runs here yet (they lie in runs/)")
    width = max([23, *(len(str(run.folder)) for run in runs)])
    for run in runs:
        print(safe(f"  {run.folder!s:<{width}}  {', step '.join(filter(None, run.cells[1:3]))}"))
    print("\ntry")
    for command, what in EXAMPLES:
        print(f"  {command:<33} {what}")
