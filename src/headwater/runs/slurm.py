"""The file that starts a run as a Slurm job, which saves and queues itself again before its time is over."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from headwater.core.errors import ConfigError
from headwater.core.files import make_folder, write_text
from headwater.core.records import seconds_of_saves
from headwater.machine.parallel.settings import meshes_of
from headwater.plan.forecast.result import checkpoint_bytes
from headwater.runfile.run_config import load_run
from headwater.train.settings import SAVE_TIME_MARGIN

END_SECONDS = 60  # a step, and the end of all processes; Slurm itself is late or early by as much
# how long a launcher waits for the store before it ends, which closes the rendezvous for all others: torchrun's minute
# is shorter than many a network is away. It joins again afterwards, for which it needs more
WAIT_FOR_THE_STORE = "read_timeout=600,join_timeout=1200"
SLOW_DISK_BYTES_PER_SECOND = 100e6  # of a file system that many nodes write to, where no save has shown better


def write_job(
    run: str,
    overrides: Sequence[str],
    nodes: int,
    ranks_per_node: int,
    min_nodes: int | None,
    hours: float,
    options: Sequence[str],
    out: Path | None,
) -> Path:
    """Write the file for sbatch that trains a run from this folder, and return it: NAME.sbatch, unless `out` is given.

    Raises ConfigError for ranks that no layout of the run has, and for a time that a save and the end would fill.
    """
    config, _ = load_run(run, overrides)
    if min_nodes is not None and min_nodes > nodes:
        raise ConfigError(f"--min-nodes {min_nodes} is more than --nodes {nodes}")
    meshes_of(config.parallel, nodes * ranks_per_node, ranks_per_node)  # refuses what would fail in the queue
    state_bytes = checkpoint_bytes(config.model, config.optim)
    job = Job(
        name=config.name,
        command=[sys.executable, "-m", "headwater", "train", run, *overrides],
        folder=Path.cwd(),
        log=config.run_dir.absolute() / "logs" / "slurm-%j.log",
        nodes=nodes,
        min_nodes=min_nodes or nodes,
        ranks_per_node=ranks_per_node,
        minutes=round(60 * hours),
        save_seconds=predicted_save_seconds(config.run_dir / "records.jsonl", state_bytes),
        options=options,
    )
    if job.term_seconds >= 60 * job.minutes:
        raise ConfigError(
            f"--hours {hours:g} is no more than the {job.term_seconds} s that a save and the end may take; raise it"
        )
    out = out or Path(f"{config.name}.sbatch")
    make_folder(job.log.parent)  # sbatch doesn't, and the job would end without a word
    write_text(out, script(job))
    return out


@dataclass(frozen=True)
class Job:
    """What a script asks Slurm for, and what it starts there.

    `min_nodes`: the run continues with as few when others fail; `save_seconds` is how long its longest save may take.
    """

    name: str
    command: Sequence[str]
    folder: Path
    log: Path
    nodes: int
    min_nodes: int
    ranks_per_node: int
    minutes: int
    save_seconds: float
    options: Sequence[str] = ()

    @property
    def term_seconds(self) -> int:
        """Return how long before its limit the job is told to end."""
        return math.ceil(self.save_seconds) + END_SECONDS


def predicted_save_seconds(records: Path, state_bytes: int) -> float:
    """Return how long a save may take: by the run's last ones, or by its size where it has made none."""
    times = seconds_of_saves(records)
    return SAVE_TIME_MARGIN * max(times) if times else state_bytes / SLOW_DISK_BYTES_PER_SECOND


def script(job: Job) -> str:
    """Return the file that sbatch takes."""
    options = [
        f"--job-name={job.name}",
        f"--nodes={job.nodes}",
        "--ntasks-per-node=1",
        f"--time={job.minutes}",
        f"--signal=B:TERM@{job.term_seconds}",
        "--requeue",
        "--open-mode=append",
        f"--chdir={job.folder}",
        f"--output={job.log}",
        *(["--no-kill"] if job.min_nodes < job.nodes else []),
        *job.options,
    ]
    for each in options:
        if not each.isprintable():  # in a comment no quote holds a line together, and what is behind it would be run
            raise ConfigError(f"the option {each!a} can't be written into a script: it has a control character")
    headers = "\n".join(f"#SBATCH {shlex.quote(option)}" for option in options)
    python, *verb = job.command
    command = shlex.join([*verb, f"--stop-within={job.term_seconds - 30}"])
    no_kill = " --no-kill" if job.min_nodes < job.nodes else ""
    nodes = str(job.nodes) if job.min_nodes == job.nodes else f"{job.min_nodes}:{job.nodes}"
    return f"""#!/bin/bash
# {job.name}: {job.nodes} node(s) of {job.ranks_per_node} rank(s). Submit it with: sbatch THIS_FILE
# The first rank prints into the file below, the others into the run folder's logs/.
{headers}

# where the launchers meet, and the name of this start
export first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export port=$((20000 + SLURM_JOB_ID % 10000)) job="$SLURM_JOB_ID-${{SLURM_RESTART_COUNT:-0}}"

# TERM comes {job.term_seconds} s before the limit: the ranks save, which may take {job.save_seconds:.0f} s, and end
stopped=
trap 'stopped=yes; scancel --signal=TERM "$SLURM_JOB_ID"' TERM  # all but this script; srun would kill at once

# a launcher, one on each node, which starts the ranks again when one is lost
launch() {{
  exec {shlex.quote(python)} -m torch.distributed.run \\
    --nnodes={nodes} --nproc-per-node={job.ranks_per_node} --max-restarts=100 \\
    --shutdown-timeout={job.term_seconds - 15} --rdzv-id="$job" --rdzv-backend=c10d \\
    --rdzv-endpoint="$first:$port" --rdzv-conf="is_host=$((SLURM_NODEID == 0)),{WAIT_FOR_THE_STORE}" \\
    {command}
}}
export -f launch
srun{no_kill} bash -c launch &
launcher=$!
wait "$launcher"; status=$?

if [ -n "$stopped" ]; then
  wait "$launcher"
  scontrol requeue "$SLURM_JOB_ID"
  exit 0
fi
exit "$status"
"""
