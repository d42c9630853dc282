"""Load the newest checkpoint that proves undamaged; put damaged ones aside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from headwater.core.errors import CheckpointError
from headwater.core.files import move_folder
from headwater.machine.ranks.exchange import Ranks
from headwater.train.checkpoint.checked_file import CheckedTensors
from headwater.train.checkpoint.layout import MODEL, OPTIM, list_checkpoints, list_damaged
from headwater.train.checkpoint.shards import DTYPES, load_pieces_, require_shapes
from headwater.train.checkpoint.verify import checked_manifest, read_state, require_files

MAX_OPEN_FILES = 500


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
    step = checked_manifest(path)["step"]
    return Checkpoint(step, path, read_tensors(path, MODEL), read_tensors(path, OPTIM), read_state(path))


def read_tensors(path: Path, kind: str) -> dict[str, Tensor]:
    """Return only the weights (MODEL) or the optimizer's state (OPTIM) of a checkpoint, checked."""
    with StoredTensors(path, kind) as stored:
        return dict(stored)


class StoredTensors(Mapping[str, Tensor]):
    """The tensors of a kind in a checkpoint, by name, whatever ranks wrote them; each is read and checked when it is
    looked up, and isn't kept.

    Raises CheckpointError for a damaged one.
    """

    def __init__(self, path: Path, kind: str) -> None:
        self._path, self._prefix, self._manifest = path, f"{kind}.", checked_manifest(path)
        table = self._manifest["tensors"]
        self._table = {name: entry for name, entry in table.items() if name.startswith(self._prefix)}
        self._files: dict[str, CheckedTensors] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        while self._files:
            self._files.popitem()[1].close()

    def __len__(self) -> int:
        return len(self._table)

    def __iter__(self) -> Iterator[str]:
        return (name.removeprefix(self._prefix) for name in self._table)

    def __getitem__(self, name: str) -> Tensor:
        named = self._prefix + name
        entry = self._table[named]
        tensor = torch.empty(entry["shape"], dtype=_dtype(entry, self._path))
        load_pieces_(
            {named: tensor}, {named: entry}, lambda file: nullcontext(self._opened(file)), str(self._path), Ranks()
        )
        return tensor

    def _opened(self, name: str) -> CheckedTensors:
        """Return a file, opened once as long as there aren't MAX_OPEN_FILES: a system allows a process about 1,000."""
        if name not in self._files:
            if len(self._files) == MAX_OPEN_FILES:
                self.__exit__()
            self._files[name] = CheckedTensors(self._path / name, self._manifest)
        return self._files[name]


def load_state_(
    path: Path, model: Mapping[str, Tensor], optim: Mapping[str, Tensor], ranks: Ranks | None = None
) -> None:
    """Copy a checkpoint into these tensors, which may be a part of it; what is read, and no more, is checked.

    Raises CheckpointError when it is damaged, or when a tensor isn't in it in this shape.
    """
    _fill_(path, checked_manifest(path), _by_kind(model, optim), ranks or Ranks())


def load_on_all_(ranks: Ranks, path: Path, model: Mapping[str, Tensor], optim: Mapping[str, Tensor]) -> str | None:
    """Copy a checkpoint into every rank's tensors; return, on every rank, what one of them found damaged, or None.

    All ranks call it together. Raises CheckpointError where a tensor isn't in it in this shape: that is no damage.
    """
    manifest, tensors, damage = checked_manifest(path), _by_kind(model, optim), None
    require_shapes(tensors, manifest["tensors"], str(path), ranks)
    try:
        _fill_(path, manifest, tensors, ranks)
    except CheckpointError as error:
        damage = str(error)
    ranks.wait()  # for one that reads for longer than a step's exchange may take
    return next((found for found in ranks.gather(damage) if found is not None), None)


def _by_kind(model: Mapping[str, Tensor], optim: Mapping[str, Tensor]) -> dict[str, Tensor]:
    kinds = ((MODEL, model), (OPTIM, optim))
    return {f"{kind}.{name}": tensor for kind, tensors in kinds for name, tensor in tensors.items()}


def _fill_(path: Path, manifest: dict[str, Any], tensors: Mapping[str, Tensor], ranks: Ranks) -> None:
    with torch.no_grad():
        load_pieces_(tensors, manifest["tensors"], lambda name: CheckedTensors(path / name, manifest), str(path), ranks)


def saved_shapes(path: Path, kind: str) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor of a kind that a checkpoint has, by name."""
    table = checked_manifest(path)["tensors"]
    return {
        name[len(kind) + 1 :]: tuple(entry["shape"]) for name, entry in table.items() if name.startswith(f"{kind}.")
    }


def _dtype(entry: dict[str, Any], path: Path) -> torch.dtype:
    if entry["dtype"] not in DTYPES:
        raise CheckpointError(f"{path} is damaged: its manifest.json has tensors of {entry['dtype']!r:.100}")
    return DTYPES[entry["dtype"]]


@dataclass(frozen=True)
class GoodCheckpoint:
    """A checkpoint on disk whose manifest and state are undamaged; its tensors are checked where they are read."""

    step: int
    path: Path
    state: dict[str, Any]


def newest_checkpoint(run_dir: Path, say: Callable[[str], None]) -> GoodCheckpoint | None:
    """Return the newest checkpoint whose manifest and state are undamaged, or None when the run has none at all.

    A damaged one is renamed to `damaged-…` and the one before it is used. When all are damaged, now or in an earlier
    call, this is a CheckpointError: a run never starts from scratch silently.
    """
    for step, path in list_checkpoints(run_dir):
        try:
            require_files(path)
            return GoodCheckpoint(step, path, read_state(path))
        except CheckpointError as error:
            put_aside_damaged(path, str(error), say)
    if list_damaged(run_dir):
        raise CheckpointError(
            f"every checkpoint of {run_dir} is damaged (kept as damaged-step-…); to train from the start, use a new "
            "run folder or remove the checkpoints folder"
        )
    return None


def resume_from_(
    found: GoodCheckpoint,
    run_dir: Path,
    model: Mapping[str, Tensor],
    optim: Mapping[str, Tensor],
    say: Callable[[str], None],
    ranks: Ranks,
) -> GoodCheckpoint:
    """Fill these tensors from `found`, or from the newest checkpoint before it that no rank finds damaged; return it.

    All ranks call it together. Raises CheckpointError when all are damaged.
    """
    while (damage := load_on_all_(ranks, found.path, model, optim)) is not None:
        older = None
        if ranks.is_first:
            put_aside_damaged(found.path, damage, say)
            older = newest_checkpoint(run_dir, say)
        found = from_first_rank(ranks, older) or found
    return found


def put_aside_damaged(path: Path, damage: str, say: Callable[[str], None]) -> None:
    say(f"{damage}; renamed to {put_aside(path).name}, trying the checkpoint before it")


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
