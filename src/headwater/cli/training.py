"""Verbs that make a run, and those that explain one: run, train, new, explain, doctor, launch."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

from headwater.cli.terminal import print_json, say, say_beside, table
from headwater.cli.verbs import App, AsJson, Overrides, RunFile, RunOrNone, argument, flag, option
from headwater.core.errors import ConfigError
from headwater.machine.ranks.mesh import place_of


def add_to(app: App) -> None:
    for verb in (run, train, new, explain, doctor):
        app.verb(verb)
    launch = App("Write the file that starts a run on a cluster.")
    launch.verb(slurm)
    app.add_typer(launch, name="launch")


StopWithin = Annotated[
    float,
    option(
        "SECONDS", "Seconds allowed after SIGTERM; if a checkpoint can't be written in time, exit without one.", min=0
    ),
]
DryRun = Annotated[
    bool, flag("--dry-run", "Say what each stage would do, and why, and what the run would cost; write nothing.")
]
Replay = Annotated[bool, flag("--replay", "Train the finished part of the run a second time, and compare every bit.")]


def run(
    run: RunFile,
    overrides: Overrides = None,
    stop_within: StopWithin = 30.0,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Run every stage from text to report that is not up to date.

    The stages are corpus, tokenizer, tokens, training, evaluation, export and report; and what the file's
    [downstream] asks for. Run the same command to resume.
    """
    if dry_run:
        from headwater.cli.running import show_dry_run

        return show_dry_run(run, overrides or [], as_json)
    if as_json:
        raise ConfigError("--json is for --dry-run; `headwater evaluate RUN --json` prints what a run measured")
    from headwater.cli.running import do_stages

    do_stages(run, overrides or [], stop_within)


def train(
    run: RunFile,
    overrides: Overrides = None,
    stop_within: StopWithin = 30.0,
    replay: Replay = False,
) -> None:
    """Train or resume; data stages that are not up to date come first.

    For several processes: torchrun --nproc-per-node 2 -m headwater train RUN
    """
    from headwater.cli.running import do_stages, replay_and_compare
    from headwater.runfile.kept_settings import load_with_kept

    if replay and place_of(os.environ).world_size > 1:
        raise ConfigError("--replay is done by one process; call it without torchrun")
    if replay:
        sys.exit(0 if replay_and_compare(load_with_kept(run, overrides or [])[0]) else 1)
    do_stages(run, overrides or [], stop_within, "training")


def new(
    name: Annotated[str, argument("NAME", "Name of the run; its file becomes NAME.toml.")],
    more: Annotated[list[str] | None, argument("[PATH ...]", "Files and folders of your text.")] = None,
    text: Annotated[list[str] | None, option("PATH", "A file or folder of your text; may be repeated.")] = None,
    base: Annotated[
        str | None, option("PATH", "A model to train on: a run, a checkpoint, a Hugging Face folder or a .gguf file.")
    ] = None,
    minutes: Annotated[
        float, option("N", "Aim for about this much training time on this machine (an estimate, not a limit).")
    ] = 8.0,
) -> None:
    """Write a run file for your text, sized for it and this machine.

    With --base it trains a model that exists on: how, by how far your text is from that model's own.
    """
    paths = [*(text or []), *(more or [])]
    if not paths:
        raise ConfigError(f"new needs your text: `headwater new {name} --text PATH`")
    from headwater.runs.library import new as library_new

    path = library_new.new(name.removesuffix(".toml"), paths, base, minutes, say)
    say(f"wrote {path}; read it, then: headwater run {path}")


SettingsToShow = Annotated[
    list[str] | None,
    argument("[setting[=value] ...]", "Settings to show, such as train.num_steps; with a value, for this call."),
]


def explain(
    run: RunOrNone = None,
    settings: SettingsToShow = None,
    show_all: Annotated[bool, flag("--all", "Show the defaults too, and what is off.")] = False,
    schema: Annotated[
        bool, flag("--schema", "Print the JSON schema of a run file, for editors; needs no RUN.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say what is set, by whom (you, a recipe, a rule), and why.

    Settings that are named are shown alone, also those that have their defaults.
    """
    from headwater.cli.explaining import file_schema, print_reasons, reasons_of
    from headwater.runfile.kept_settings import load_with_kept
    from headwater.runfile.run_config import config_record

    if schema:
        if run is not None:
            raise ConfigError(f"--schema prints what any run file may hold; remove {run}, or --schema")
        return print_json(file_schema(), indent=2)
    if run is None:
        raise ConfigError("name a run to explain, such as first-light or mine.toml; or give --schema")
    overrides = [word for word in settings or [] if "=" in word]
    names = [word for word in settings or [] if "=" not in word]
    config, reasons = load_with_kept(run, overrides)
    if names:
        reasons, show_all = reasons_of(names, reasons), True
    print_json(config_record(config, reasons)) if as_json else print_reasons(config, reasons, run, show_all)


def doctor(as_json: AsJson = False) -> None:
    """Measure this machine: what it has and lacks, how fast it is."""
    from headwater.machine.device.settings import MEASURING
    from headwater.runs.library.machine import measure_machine

    say_beside(as_json)(MEASURING)
    findings = measure_machine()
    print_json(findings) if as_json else print_findings(findings)


def slurm(
    run: RunFile,
    overrides: Overrides = None,
    nodes: Annotated[int, option("N", "Number of nodes.", min=1)] = 1,
    ranks_per_node: Annotated[int, option("N", "Processes on each node, one for each GPU.", min=1)] = 1,
    min_nodes: Annotated[
        int | None, option("N", "Fewest nodes to continue with when some fail (default: all; it queues again).", min=1)
    ] = None,
    hours: Annotated[float, option("N", "Time limit of the job in hours; it queues again until done.")] = 24.0,
    sbatch: Annotated[list[str] | None, option("OPTION", "A further option of sbatch; may be repeated.")] = None,
    out: Annotated[Path | None, option("FILE", "Where to write it (default: NAME.sbatch).")] = None,
) -> None:
    """Write a file for sbatch that trains a run and saves in time.

    For instance: headwater launch slurm mine.toml --nodes 2 --ranks-per-node 8 --sbatch --gpus-per-node=8
    """
    from headwater.runs.slurm import write_job

    path = write_job(run, overrides or [], nodes, ranks_per_node, min_nodes, hours, sbatch or [], out)
    say(f"wrote {path}; read it, then: sbatch {shlex.quote(str(path))}")


def print_findings(findings: dict[str, Any]) -> None:
    giga = {name: value / 1e9 for name, value in findings.items() if isinstance(value, int | float)}
    load = f"{findings['load']}: peak and bandwidth are too low; measure again when it is idle"
    lines = [
        ("device", f"{findings['device']}, {findings['cores']} cores, {giga['memory_bytes']:.0f} GB memory"),
        ("gpu", findings["gpu"]),
        ("disk", f"{giga['free_disk_bytes']:.0f} GB free here"),
        ("torch", f"{findings['torch']}, {'compiling works' if findings['compiles'] else findings['note']}"),
        ("format", f"{findings['dtype']}, {findings['dtype_why']}"),
        ("peak", f"{giga['peak_flops_per_second']:,.0f} GFLOP/s in it"),
        ("bandwidth", f"{giga['memory_bytes_per_second']:.0f} GB/s of memory read and written"),
        ("load", load if findings["load"] else None),
    ]
    for name, missing in findings["extras"].items():
        lacks = f"{', '.join(missing)} missing; pip install 'headwater[{name}]'"
        lines.append(("extra", f"{name}: {lacks if missing else 'installed'}"))
    table([line for line in lines if line[1] is not None], "<<")
