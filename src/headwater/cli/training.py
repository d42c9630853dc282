"""Verbs that make a run: run, train, new, explain, schema, doctor."""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headwater.cli.arguments import STOPPED_BY_SIGNAL, AsJson, Overrides, RunFile, print_json
from headwater.cli.terminal import safe, say
from headwater.errors import ConfigError
from headwater.machine.place import place_of

if TYPE_CHECKING:
    from headwater.cli.running import Call


def add_to(app: typer.Typer) -> None:
    for verb in (run, train, new, explain, schema, doctor):
        app.command()(verb)


_TAKE_OVER = "if it is stopped or its machine is lost, the same command with --takeover takes it over"

LossTable = Annotated[
    Path | None,
    typer.Option(
        "--runs",
        metavar="CSV",
        help="Finished runs (params, tokens, loss) to forecast the loss from; else the ladder's.",
    ),
]
LossUnit = Annotated[str, typer.Option(help="Unit of the loss in --runs: bits_per_byte or nats_per_token.")]
Takeover = Annotated[
    bool,
    typer.Option(
        "--takeover",
        help="Take the run folder from a process that is stopped, dead or on another host; what it still writes there "
        "is refused.",
    ),
]
StopWithin = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        help="After SIGTERM, end within so long: where a save would take longer, stop without one (torchrun gives 30).",
        min=0,
    ),
]
Replay = Annotated[
    bool,
    typer.Option(
        "--replay",
        help="Train the finished part of the run anew beside it, by its log of interventions, and compare every bit.",
    ),
]


def run(
    run: RunFile,
    overrides: Overrides = None,
    runs: LossTable = None,
    loss_unit: LossUnit = "bits_per_byte",
    takeover: Takeover = False,
    stop_within: StopWithin = 30.0,
) -> None:
    """Do every stage that is not up to date: corpus, tokenizer, tokens, training, evaluation, export, report."""
    from headwater.cli.running import run_all_stages
    from headwater.recipes.run_config import load_run

    config, reasons = load_run(run, overrides or [])
    if not run_all_stages(config, reasons, _call(runs, loss_unit, takeover, stop_within)):
        sys.exit(STOPPED_BY_SIGNAL)


def train(
    run: RunFile,
    overrides: Overrides = None,
    runs: LossTable = None,
    loss_unit: LossUnit = "bits_per_byte",
    takeover: Takeover = False,
    stop_within: StopWithin = 30.0,
    replay: Replay = False,
) -> None:
    """Train, or go on where training stopped; data stages that are not up to date come first."""
    from headwater.cli.replaying import run_replay
    from headwater.cli.running import run_training
    from headwater.recipes.run_config import load_run

    config, reasons = load_run(run, overrides or [])
    if replay and place_of(os.environ).world_size > 1:
        raise ConfigError("--replay is done by one process; call it without torchrun")
    if replay:
        sys.exit(0 if run_replay(config) else 1)
    if not run_training(config, reasons, _call(runs, loss_unit, takeover, stop_within)):
        sys.exit(STOPPED_BY_SIGNAL)


def _call(runs: Path | None, loss_unit: str, takeover: bool, stop_within: float) -> Call:
    from headwater.checkpoint.lock import owned, taken_over
    from headwater.cli.running import Call
    from headwater.recipes.planning import Questions, loss_unit_of

    own = taken_over if takeover else partial(owned, if_stopped=_TAKE_OVER)
    return Call(Questions(runs, loss_unit_of(loss_unit)), own, place_of(os.environ), stop_within)


def new(
    name: Annotated[str, typer.Argument(help="Name of the run; its file becomes NAME.toml.")],
    text: Annotated[list[str], typer.Option("--text", help="A file or folder of your text; may be given often.")],
    more: Annotated[list[str] | None, typer.Argument(metavar="[PATH]...", help="More files and folders.")] = None,
    minutes: Annotated[
        float,
        typer.Option(
            help="Sets the number of steps alone, to about so long on this machine. No limit: it may take more or "
            "less, and `headwater plan` says how long."
        ),
    ] = 8.0,
) -> None:
    """Write a run file that trains on your own text: --text FOLDER or FILE; sizes follow from its amount."""
    from headwater.recipes.new import write_run_file

    name = name.removesuffix(".toml")
    path = write_run_file(Path(f"{name}.toml"), name, [*text, *(more or [])], minutes, say)
    say(f"wrote {path}; look it over, then: headwater run {path}")


def explain(run: RunFile, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Say for every setting whether you, a recipe, a rule or a default set it, and why."""
    from headwater.recipes.run_config import config_record, load_run

    config, reasons = load_run(run, overrides or [])
    if as_json:
        print_json(config_record(config, reasons))
        return
    for reason in reasons:
        shown = json.dumps(reason.value, ensure_ascii=False)
        shown = shown if len(shown) <= 40 else shown[:37] + "..."
        why = " ".join(reason.why.split())  # a description may be of two lines
        print(safe(f"{reason.setting:<34} {shown:<41} {reason.origin:<8} {why}".rstrip()))


def schema() -> None:
    """Print the JSON schema of a run file, for editors."""
    from headwater.recipes.run_config import file_schema

    print_json(file_schema())


def doctor(as_json: AsJson = False) -> None:
    """Say what this machine has and lacks, and measure its matrix-multiply peak."""
    from headwater.cli.doctor import examine_machine, print_findings

    findings = examine_machine()
    print_json(findings) if as_json else print_findings(findings)
