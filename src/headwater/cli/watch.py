"""The verb watch: the runs here, one line each, as they go."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from headwater.cli import arguments as arg
from headwater.cli.arguments import argument, flag
from headwater.cli.overview import RUNS, folder_of_runs
from headwater.cli.terminal import print_json, say, table
from headwater.cli.verbs import App
from headwater.printable import printable
from headwater.serve.summary import HEADS, RunsFolder, RunSummary

if TYPE_CHECKING:
    from rich.table import Table

EVERY_SECONDS = 1.0
STYLES = {"running": "cyan", "finished": "green", "killed": "red"}


def add_to(app: App) -> None:
    app.verb(watch)


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
        _print_once(runs.summaries(), runs.folder)
    else:
        with suppress(KeyboardInterrupt):
            _follow(runs)


def _print_once(found: list[RunSummary], folder: Path) -> None:
    if not found:
        say(f"no run in {folder} yet; `headwater run first-light` makes one")
        return
    table([HEADS, *(run.cells for run in found)], "<<")


def _follow(runs: RunsFolder) -> None:
    from rich.live import Live

    with Live(_live_table(runs), auto_refresh=False) as live:
        while True:
            time.sleep(EVERY_SECONDS)
            live.update(_live_table(runs), refresh=True)


def _live_table(runs: RunsFolder) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    shown = Table(*HEADS, box=SIMPLE_HEAD, caption="Ctrl-C ends this; training goes on", caption_justify="left")
    for column in shown.columns[2:]:
        column.justify = "right"
    for run in runs.summaries():
        # as plain text: a name may hold rich's own marks
        shown.add_row(*(Text(printable(cell), style=STYLES.get(cell, "")) for cell in run.cells))
    return shown
