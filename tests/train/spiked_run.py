"""A run in which the rows of one step do harm: their update is 10,000 times too long, and no later loss is what it was.

The harm is done by the rows, whatever step they come in, as a batch of garbage would do it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from small_run import without_clock
from tiny_run import ROWS_PER_STEP, MadeUpRows, begin, plan, train_on

from headwater.core.records import Record, read_records
from headwater.tokens.skipped_rows import read_interventions
from headwater.train import step as step_module
from headwater.train.checkpoint.layout import list_checkpoints
from headwater.train.checkpoint.load import read_checkpoint
from headwater.train.settings import TrainPlan
from headwater.train.state import RunState

NUM_STEPS = 14
HARMED = 9  # the rows of the tenth step: after the save of step 8
FIELDS = ("step", "skipped", "rollback", "validation", "probes", "samples")


def spiked_plan(**changed: Any) -> TrainPlan:
    """Return a plan whose guard compares with few steps, as the run has few."""
    # the decay begins at step 8, which is saved anyway
    chosen = {
        "num_steps": NUM_STEPS,
        "decay_fraction": 6 / 14,
        "save_every": 4,
        "guard_window": 8,
        "guard_sigmas": 12,
        "max_bad_steps": 3,
    }
    return plan(**chosen | changed)


def plant(monkeypatch: pytest.MonkeyPatch, *steps: int) -> None:
    """Let the rows that are those of these steps, as long as no row was skipped, do harm."""
    honest = step_module.train_step
    bad_rows = {step * ROWS_PER_STEP for step in steps}

    def train_step(model, optimizer, microbatches, parallel, *, lr_factor, **rest):
        factor = 1e4 if microbatches[0].first_row in bad_rows else 1
        return honest(model, optimizer, microbatches, parallel, lr_factor=factor * lr_factor, **rest)

    monkeypatch.setattr(step_module, "train_step", train_step)


def go_on(run_dir: Path, the_plan: TrainPlan, *given: Any, batches: MadeUpRows | None = None) -> RunState:
    """Train on from what the folder holds, to the end or until a signal; return the state reached."""
    return train_on(begin(run_dir, the_plan, batches), *given)


def what_counts(run_dir: Path) -> list[Record]:
    return without_clock([record for record in read_records(run_dir / "records.jsonl") if record["event"] in FIELDS])


def log_of(run_dir: Path) -> list[str]:
    """Return the entries of a run's interventions, without when they were written."""
    kept = [{name: value for name, value in entry.items() if name != "time"} for entry in read_interventions(run_dir)]
    return [json.dumps(entry) for entry in kept]


def end_of(run_dir: Path) -> dict[str, bytes]:
    """Return all bits of the last checkpoint's tensors, and its state but for the clock."""
    checkpoint = read_checkpoint(list_checkpoints(run_dir)[0][1])
    tensors = {name: tensor.numpy().tobytes() for name, tensor in (checkpoint.model | checkpoint.optim).items()}
    return tensors | {"state": json.dumps({**checkpoint.state, "seconds": 0}, sort_keys=True).encode()}


def assert_same_run(run_dir: Path, whole: Path) -> None:
    assert log_of(run_dir) == log_of(whole)
    assert what_counts(run_dir) == what_counts(whole)
    assert end_of(run_dir) == end_of(whole)
