"""Load the newest checkpoint that proves undamaged; put damaged ones aside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as from_safetensors
from torch import Tensor

from headwater.checkpoint.layout import KINDS, MODEL, OPTIM, STATE_FILE, list_checkpoints, list_damaged, tensor_file
from headwater.checkpoint.shards import DTYPES, load_pieces_
from headwater.checkpoint.verify import checked_manifest, digest_of, read_state, require_whole, state_of
from headwater.errors import CheckpointError
from headwater.files import digest_bytes, move_folder
from headwater.ranks.exchange import Ranks


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose tensors are all in memory, whatever number of ranks wrote it."""

    step: int
    path: Path
    model: dict[str, Tensor]
    optim: dict[str, Tensor]
    state: dict[str, Any]


def read_checkpoint(path: Path) -> Checkpoint:
    """Return a checkpoint, every byte of it checked against the manifest; raise CheckpointError if one differs."""
    manifest = checked_manifest(path)
    tensors = {kind: _read_kind(path, manifest, kind) for kind in KINDS}
    state = state_of(path / STATE_FILE, _checked_bytes(path / STATE_FILE, manifest))
    return Checkpoint(manifest["step"], path, tensors[MODEL], tensors[OPTIM], state)


def read_model_weights(path: Path) -> dict[str, Tensor]:
    """Return only the model's weights of a checkpoint, checked."""
    return _read_kind(path, checked_manifest(path), MODEL)


def load_state_(path: Path, model: Mapping[str, Tensor], optim: Mapping[str, Tensor]) -> None:
    """Copy a checkpoint into these tensors, which may be a part of it; every byte that is read is checked.

    Raises CheckpointError when one is damaged, or when a tensor isn't in it in this shape.
    """
    manifest = checked_manifest(path)
    for kind, tensors in ((MODEL, model), (OPTIM, optim)):
        named = {f"{kind}.{name}": tensor for name, tensor in tensors.items()}
        with torch.no_grad():
            load_pieces_(named, manifest["tensors"], lambda file: _tensors_of(path / file, manifest), str(path))


def saved_shapes(path: Path, kind: str) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor of a kind that a checkpoint has, by name."""
    table = checked_manifest(path)["tensors"]
    return {
        name[len(kind) + 1 :]: tuple(entry["shape"]) for name, entry in table.items() if name.startswith(f"{kind}.")
    }


def _read_kind(path: Path, manifest: dict[str, Any], kind: str) -> dict[str, Tensor]:
    if manifest["world_size"] == 1:
        return _tensors_of(path / tensor_file(kind, 0, 1), manifest)
    table = manifest["tensors"]
    tensors = {
        name: torch.empty(entry["shape"], dtype=_dtype(entry, path))
        for name, entry in table.items()
        if name.startswith(f"{kind}.")
    }
    load_pieces_(tensors, table, lambda file: _tensors_of(path / file, manifest), str(path))
    return {name[len(kind) + 1 :]: tensor for name, tensor in tensors.items()}


def _dtype(entry: dict[str, Any], path: Path) -> torch.dtype:
    if entry["dtype"] not in DTYPES:
        raise CheckpointError(f"{path} is damaged: its manifest.json has tensors of {entry['dtype']!r:.100}")
    return DTYPES[entry["dtype"]]


def _tensors_of(file: Path, manifest: dict[str, Any]) -> dict[str, Tensor]:
    data = _checked_bytes(file, manifest)
    try:
        return from_safetensors(data)
    except Exception as error:  # the library's own and torch's, of every kind, for a header that is no header
        raise CheckpointError(f"{file} is no safetensors file, whatever its digest says: {error!r:.200}") from None


def _checked_bytes(path: Path, manifest: dict[str, Any]) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} can't be read: {error.strerror}") from error
    if digest_bytes(data) != digest_of(manifest, path):
        raise CheckpointError(f"{path} is damaged: its digest differs from the one in manifest.json")
    return data


@dataclass(frozen=True)
class GoodCheckpoint:
    """A checkpoint on disk that was whole when it was read."""

    step: int
    path: Path
    state: dict[str, Any]


def newest_good_checkpoint(run_dir: Path, say: Callable[[str], None]) -> GoodCheckpoint | None:
    """Return the newest undamaged checkpoint, or None when the run has none at all.

    A damaged one is renamed to `damaged-…` and the one before it is used. When all are damaged, now or in an earlier
    call, this is a CheckpointError: a run never starts from scratch silently.
    """
    for step, path in list_checkpoints(run_dir):
        try:
            require_whole(path)
            return GoodCheckpoint(step, path, read_state(path))
        except CheckpointError as error:
            say(f"{error}; renamed to {put_aside(path).name}, trying the checkpoint before it")
    if list_damaged(run_dir):
        raise CheckpointError(
            f"every checkpoint of {run_dir} is damaged (kept as damaged-step-…); to train from the start, use a new "
            "run folder or remove the checkpoints folder"
        )
    return None


def from_first_rank(ranks: Ranks, found: GoodCheckpoint | None) -> GoodCheckpoint | None:
    """Return the first rank's checkpoint on every rank; all call it together, the others with None."""
    shared = ranks.from_first(None if found is None else [found.step, str(found.path), found.state])
    return None if shared is None else GoodCheckpoint(shared[0], Path(shared[1]), shared[2])


def put_aside(path: Path) -> Path:
    """Rename a damaged checkpoint, so that no run resumes from it and it can still be studied; return its new name."""
    aside = _free_name(path.with_name(f"damaged-{path.name}"))
    move_folder(path, aside)
    return aside


def _free_name(path: Path) -> Path:
    """Return `path`, or, where that exists (a checkpoint of this step was damaged before), the first free `path-N`."""
    names = [path, *(path.with_name(f"{path.name}-{number}") for number in range(2, 1000))]
    return next(name for name in names if not name.exists())
