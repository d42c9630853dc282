"""The verb launch: files that start a run on a cluster, for people to read and to submit."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

from headwater.cli.arguments import Overrides, RunFile, option
from headwater.cli.terminal import say
from headwater.cli.verbs import App


def add_to(app: App) -> None:
    group = App("Write the file that starts a run on a cluster.")
    app.add_typer(group, name="launch")
    group.verb(slurm)


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
