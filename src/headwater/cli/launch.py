"""headwater launch: files that start a run on a cluster."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

from headwater.cli.arguments import Overrides, RunFile, option
from headwater.cli.terminal import say
from headwater.cli.verbs import App
from headwater.errors import ConfigError


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
    from headwater.files import make_folder, write_text
    from headwater.forecast.work import checkpoint_bytes
    from headwater.launch.slurm import Job, predicted_save_seconds, script
    from headwater.parallel.settings import meshes_of
    from headwater.runs.run_config import load_run

    config, _ = load_run(run, overrides or [])
    if min_nodes is not None and min_nodes > nodes:
        raise ConfigError(f"--min-nodes {min_nodes} is more than --nodes {nodes}")
    meshes_of(config.parallel, nodes * ranks_per_node, ranks_per_node)  # refuses what would fail in the queue
    log = config.run_dir.absolute() / "logs" / "slurm-%j.log"
    job = Job(
        name=config.name,
        command=[sys.executable, "-m", "headwater", "train", run, *(overrides or [])],
        folder=Path.cwd(),
        log=log,
        nodes=nodes,
        min_nodes=min_nodes or nodes,
        ranks_per_node=ranks_per_node,
        minutes=round(60 * hours),
        save_seconds=predicted_save_seconds(
            config.run_dir / "records.jsonl", checkpoint_bytes(config.model, config.optim)
        ),
        options=sbatch or [],
    )
    if job.term_seconds >= 60 * job.minutes:
        raise ConfigError(
            f"--hours {hours:g} is no more than the {job.term_seconds} s that a save and the end may take; raise it"
        )
    out = out or Path(f"{config.name}.sbatch")
    make_folder(log.parent)  # sbatch doesn't, and the job would end without a word
    write_text(out, script(job))
    say(f"wrote {out}; read it, then: sbatch {shlex.quote(str(out))}")
