"""Load the newest checkpoint that proves undamaged; put damaged ones aside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load as from_safetensors
from torch import Tensor

from headwater.checkpoint.layout import FILES, MODEL_FILE, OPTIM_FILE, STATE_FILE, list_checkpoints, list_damaged
from headwater.checkpoint.verify import checked_manifest, digest_of, state_of
from headwater.errors import CheckpointError
from headwater.files import digest_bytes, move_folder


@dataclass(frozen=True)
class Checkpoint:
    step: int
    path: Path
    model: dict[str, Tensor]
    optim: dict[str, Tensor]
    state: dict[str, Any]


def read_checkpoint(path: Path) -> Checkpoint:
    """Return a checkpoint, every byte of it checked against the manifest; raise CheckpointError if one differs."""
    manifest = checked_manifest(path)
    contents = {name: _checked_bytes(path / name, manifest) for name in FILES}
    return Checkpoint(
        step=manifest["step"],
        path=path,
        model=_tensors(path / MODEL_FILE, contents[MODEL_FILE]),
        optim=_tensors(path / OPTIM_FILE, contents[OPTIM_FILE]),
        state=state_of(path / STATE_FILE, contents[STATE_FILE]),
    )


def read_model_weights(path: Path) -> dict[str, Tensor]:
    """Return only the model's weights of a checkpoint, checked."""
    return _tensors(path / MODEL_FILE, _checked_bytes(path / MODEL_FILE, checked_manifest(path)))


def _tensors(path: Path, data: bytes) -> dict[str, Tensor]:
    try:
        return from_safetensors(data)
    except Exception as error:  # the library's own and torch's, of every kind, for a header that is no header
        raise CheckpointError(f"{path} is no safetensors file, whatever its digest says: {error!r:.200}") from None


def _checked_bytes(path: Path, manifest: dict[str, Any]) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} can't be read: {error.strerror}") from error
    if digest_bytes(data) != digest_of(manifest, path):
        raise CheckpointError(f"{path} is damaged: its digest differs from the one in manifest.json")
    return data


def newest_good_checkpoint(run_dir: Path, say: Callable[[str], None]) -> Checkpoint | None:
    """Return the newest undamaged checkpoint, or None when the run has none at all.

    A damaged one is renamed to `damaged-…`, never deleted, and the one before it is taken. When all are damaged,
    now or in an earlier call, this is a CheckpointError: a run never starts from scratch silently.
    """
    for _, path in list_checkpoints(run_dir):
        try:
            return read_checkpoint(path)
        except CheckpointError as error:
            aside = _free_name(path.with_name(f"damaged-{path.name}"))
            say(f"{error}; put aside as {aside.name}, trying the checkpoint before it")
            move_folder(path, aside)
    if list_damaged(run_dir):
        raise CheckpointError(
            f"every checkpoint of {run_dir} is damaged (kept as damaged-step-…); to train from the start, use a new "
            "run folder or remove the checkpoints folder"
        )
    return None


def _free_name(path: Path) -> Path:
    """Return `path`, or, where that exists (a checkpoint of this step was damaged before), the first free `path-N`."""
    names = [path, *(path.with_name(f"{path.name}-{number}") for number in range(2, 1000))]
    return next(name for name in names if not name.exists())
