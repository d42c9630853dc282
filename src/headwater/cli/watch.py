"""The verb watch: the runs here, one line each, as they go."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from headwater.cli import arguments as arg
from headwater.cli.arguments import argument, flag
from headwater.cli.terminal import columns, print_json
from headwater.cli.verbs import App
from headwater.core.printable import printable
from headwater.runs.summary import HEADS, RUNS, RunsFolder, folder_of_runs

EVERY_SECONDS = 1.0
STYLES = {"running": "cyan", "finished": "green", "killed": "red", "damaged": "red"}


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
