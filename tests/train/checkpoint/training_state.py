"""A small training state for the tests of checkpoints, and ways to save, load and compare it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headwater.core.errors import CheckpointError
from headwater.core.files import no_check
from headwater.train.checkpoint.load import Checkpoint, newest_checkpoint, put_aside_damaged, read_checkpoint
from headwater.train.checkpoint.save import Saver

Tensors = dict[str, Tensor]


def training_state(step: int) -> tuple[Tensors, Tensors, dict[str, Any]]:
    """Return (model, optim, state) of a step; every step's values differ."""
    generator = torch.Generator().manual_seed(step)
    model = {"embed.weight": torch.randn(5, 3, generator=generator), "norm.weight": torch.randn(3, generator=generator)}
    optim = {f"{name}.mean": torch.randn(tensor.shape, generator=generator) for name, tensor in model.items()}
    return model, optim, {"step": step, "rows_consumed": 8 * step, "machine": {"dtype": "float32"}}


def save_checkpoint(
    run_dir: Path,
    step: int,
    model: Mapping[str, Tensor],
    optim: Mapping[str, Tensor],
    state: dict[str, Any],
    before_commit: Callable[[], None] = no_check,
) -> int:
    """Commit the checkpoint of `step` by one rank, wait for it, and return its size; see `Saver.begin`."""
    saver = Saver(run_dir, before_commit=before_commit)
    try:
        saver.begin(step, model, optim, state)
        saved = saver.finish()
    finally:
        saver.close()
    assert saved is not None
    return saved.bytes


def save(run_dir: Path, step: int) -> int:
    return save_checkpoint(run_dir, step, *training_state(step))


def load(run_dir: Path, say: Callable[[str], None] = lambda line: None) -> Checkpoint | None:
    """Return the newest checkpoint of which every byte is undamaged, as a run that resumes takes it."""
    while (found := newest_checkpoint(run_dir, say)) is not None:
        try:
            return read_checkpoint(found.path)
        except CheckpointError as error:
            put_aside_damaged(found.path, str(error), say)
    return None


def is_state_of(checkpoint: Checkpoint | None, step: int) -> bool:
    """Return whether a checkpoint is, bit by bit, the state of that step."""
    if checkpoint is None:
        return False
    model, optim, state = training_state(step)
    found = {f"model.{k}": v for k, v in checkpoint.model.items()} | {
        f"optim.{k}": v for k, v in checkpoint.optim.items()
    }
    expected = {f"model.{k}": v for k, v in model.items()} | {f"optim.{k}": v for k, v in optim.items()}
    same_tensors = found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in found)
    return same_tensors and checkpoint.state == state and checkpoint.step == step
