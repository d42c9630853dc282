"""Train a run again from its first step, and compare: its settings, text and log lead to what is recorded.

Interventions come from the run's log, none is decided again; what the run went back from is not repeated.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor

from headwater.batches.prefetch import Prefetcher
from headwater.batches.source import BatchSource
from headwater.checkpoint.layout import list_checkpoints
from headwater.checkpoint.load import Checkpoint, read_checkpoint
from headwater.errors import CheckpointError, ConfigError
from headwater.files import remove_folder
from headwater.records import Record, read_records
from headwater.train.assemble import Run, build
from headwater.train.guard import not_finite
from headwater.train.identity import TrainPlan, require_same
from headwater.train.interventions import Interventions, read_interventions, rows_consumed
from headwater.train.tried_step import TriedStep, microbatches, record_step, skip_rows_, try_step

COMPARED = ("loss", "grad_norm")


@dataclass(frozen=True)
class Replay:
    """The steps that are alike, the first difference (None: there is none), and the digest of the state reached."""

    num_steps: int
    difference: str | None
    digest: str


def replay(
    run_dir: Path, plan: TrainPlan, batches: BatchSource, display: Callable[[Record], None], say: Callable[[str], None]
) -> Replay:
    """Train up to the run's newest checkpoint in RUN/replay-…, which is kept where there is a difference.

    Call it holding the run folder's lock. Raises CheckpointError when the run has no checkpoint, a damaged one, or one
    of other settings.
    """
    for old in run_dir.glob("replay-*"):
        remove_folder(old)
    identity = plan.identity() | {"batches": batches.digest}
    interventions = Interventions(read_interventions(run_dir), identity)
    saved = _newest(run_dir, interventions)
    require_same(saved.path, saved.state["identity"], identity)
    if saved.state.get("world_size", 1) > 1 and not plan.train.exact:
        raise ConfigError(
            f"{run_dir} was trained on {saved.state['world_size']} ranks without train.exact: the order of their sums "
            "can't be repeated by one"
        )
    plan = replace(plan, train=plan.train.model_copy(update={"audit_every": None}))
    folder = run_dir / f"replay-{os.getpid()}"
    run = build(folder, plan, batches, interventions, say, None, saved.state)
    try:
        run.records.append("start", 0, rows_consumed=0)
        with run.machine.at_work():
            difference = _first_difference(run, run_dir, saved, display)
    finally:
        run.records.close()
    ours = digest_of(run.prepared.model.state_dict() | run.optimizer.state_tensors())
    if difference is None and ours != digest_of(saved.model | saved.optim):
        difference = f"weights or optimizer state at step {run.step} differ from those of {saved.path}"
    if difference is None:
        remove_folder(folder)
    return Replay(run.step, difference, ours)


def _newest(run_dir: Path, interventions: Interventions) -> Checkpoint:
    for step, path in list_checkpoints(run_dir):
        rows = rows_consumed(path)
        if rows is None or not interventions.is_abandoned(step, rows):  # a damaged one is an error, not passed over
            return read_checkpoint(path)
    raise CheckpointError(f"{run_dir} has no checkpoint: there is nothing to replay; `headwater train` makes one")


def _first_difference(run: Run, run_dir: Path, saved: Checkpoint, display: Callable[[Record], None]) -> str | None:
    """Train to the step of a checkpoint; return how the first step differs that isn't as recorded."""
    expected = {record["step"]: record for record in read_records(run_dir / "records.jsonl", "step")}
    while run.step < saved.step:
        skip_rows_(run, display)
        with Prefetcher(microbatches(run)) as batches:
            while run.step < saved.step and run.interventions.pending_rollback(run.step, run.rows_consumed) is None:
                tried = try_step(run, batches, not_finite, display)
                difference = _follow(run, tried, expected, display)
                if difference is not None:
                    return difference
    rows = saved.state["rows_consumed"]
    return None if run.rows_consumed <= rows else f"the run had gone through {rows} rows, this one {run.rows_consumed}"


def _follow(
    run: Run, tried: TriedStep, expected: Mapping[int, Record], display: Callable[[Record], None]
) -> str | None:
    """Count a step as the run did; return how it differs from what is recorded."""
    result = tried.result
    if result.reason is not None:
        rows = f"rows {run.rows_consumed} to {run.rows_consumed + run.rows_per_step - 1}"
        if run.interventions.skip_at(run.rows_consumed) is None:
            return f"after step {run.step}, {rows}: {result.reason}, and the run didn't skip the step"
        run.rows_consumed += run.rows_per_step
        return None
    record_step(run, tried, display)
    found = {"loss": result.loss, "grad_norm": result.grad_norm}
    record = expected.get(run.step)
    if record is None:
        return f"step {run.step} is not in the run's records"
    for name in COMPARED:
        if found[name].hex() != float(record[name]).hex():
            return f"step {run.step}: {name} was {float(record[name]).hex()}, is {found[name].hex()}"
    return None


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """Return a digest of names, dtypes, shapes and all bits, whatever the order."""
    digest = sha256()
    for name in sorted(tensors):
        array = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {array.dtype} {tuple(array.shape)}\n".encode())
        digest.update(array.flatten().view(torch.uint8).numpy().tobytes())
    return "sha256:" + digest.hexdigest()
