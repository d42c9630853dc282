"""Train a run again from its first step, and compare: its settings, text and log lead to what is recorded.

Interventions come from the run's log, none is decided again; what the run went back from is not repeated.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headwater.batches.source import BatchSource
from headwater.checkpoint.layout import list_checkpoints
from headwater.checkpoint.load import Checkpoint, read_checkpoint
from headwater.checkpoint.save import Saver
from headwater.errors import CheckpointError, ConfigError
from headwater.files import remove_folder
from headwater.host.signals import StopRequest
from headwater.interventions import Interventions, read_interventions
from headwater.model.init import OpenFirst
from headwater.records import Record, read_records
from headwater.train.incidents import LoggedDecisions, ReplayDifference
from headwater.train.longer import identity_of, require_shared
from headwater.train.loop import Display, run_steps
from headwater.train.settings import TrainPlan
from headwater.train.start import Past, assemble
from headwater.train.state import RunState, at_work, rows_of_checkpoint

COMPARED = ("loss", "grad_norm")


@dataclass(frozen=True)
class Replay:
    """The steps that are alike, the first difference (None: there is none), and the digest of the state reached."""

    num_steps: int
    difference: str | None
    digest: str


class NoSaver(Saver):
    """A replay ends with a comparison; a checkpoint of it would be another copy."""

    def begin(self, *arguments: Any, **named: Any) -> None:
        return None


def replay_training(
    run_dir: Path,
    plan: TrainPlan,
    batches: BatchSource,
    display: Display,
    say: Callable[[str], None],
    open_base: OpenFirst | None = None,
) -> Replay:
    """Train up to the run's newest checkpoint in RUN/replay-…, which is kept where there is a difference.

    Call it holding the run folder's lock. Raises CheckpointError when the run has no checkpoint, a damaged one, or one
    of other settings.
    """
    for old in run_dir.glob("replay-*"):
        remove_folder(old)
    identity = identity_of(plan, batches)
    interventions = Interventions(read_interventions(run_dir), identity)
    saved = _newest(run_dir, interventions)
    require_shared(saved.path, saved.state, plan, batches)
    if saved.state["world_size"] > 1 and not plan.train.exact:
        raise ConfigError(
            f"{run_dir} was trained on {saved.state['world_size']} ranks without train.exact: the order of their sums "
            "can't be repeated by one"
        )
    plan = replace(plan, train=plan.train.model_copy(update={"audit_every": None, "profile_steps": None}))
    folder = run_dir / f"replay-{os.getpid()}"
    comparison = Comparison(run_dir, display)
    past = Past(interventions, checkpoint=None, kept=saved.state)
    built = assemble(folder, plan, batches, past, say, open_base=open_base)
    run = replace(built, saver=NoSaver(folder), display=comparison)
    try:
        run.records.append("start", 0, rows_consumed=0)
        with at_work(run):
            end = run_steps(run, RunState(), LoggedDecisions(run), saved.step, None, StopRequest())
        rows, difference = saved.state["rows_consumed"], None
        if end.rows_consumed > rows:
            difference = f"the run had gone through {rows} rows, this one {end.rows_consumed}"
    except ReplayDifference as error:
        difference = str(error)
    finally:
        run.records.close()
    ours = digest_of(run.model.state_dict() | run.optimizer.state_tensors())
    if difference is None and ours != digest_of(saved.model | saved.optim):
        difference = f"weights or optimizer state at step {saved.step} differ from those of {saved.path}"
    if difference is None:
        remove_folder(folder)
    return Replay(comparison.step, difference, ours)


def _newest(run_dir: Path, interventions: Interventions) -> Checkpoint:
    for step, path in list_checkpoints(run_dir):
        rows = rows_of_checkpoint(path)
        if rows is None or not interventions.is_abandoned(step, rows):  # a damaged one is an error, not passed over
            return read_checkpoint(path)
    raise CheckpointError(f"{run_dir} has no checkpoint: there is nothing to replay; `headwater train` makes one")


class Comparison:
    """Shows the replay's records, and raises ReplayDifference for a step that isn't as it is recorded."""

    def __init__(self, run_dir: Path, display: Display) -> None:
        self._expected = {record["step"]: record for record in read_records(run_dir / "records.jsonl", "step")}
        self._display = display
        self.step = 0  # up to which they are alike

    def __call__(self, record: Record) -> None:
        self._display(record)
        if record["event"] != "step":
            return
        step, expected = record["step"], self._expected.get(record["step"])
        self.step = step
        if expected is None:
            raise ReplayDifference(f"step {step} is not in the run's records")
        for name in COMPARED:
            if record[name].hex() != float(expected[name]).hex():
                raise ReplayDifference(
                    f"step {step}: {name} was {float(expected[name]).hex()}, is {record[name].hex()}"
                )


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """Return a digest of names, dtypes, shapes and all bits, whatever the order."""
    digest = sha256()
    for name in sorted(tensors):
        array = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {array.dtype} {tuple(array.shape)}\n".encode())
        digest.update(array.flatten().view(torch.uint8).numpy().tobytes())
    return "sha256:" + digest.hexdigest()
