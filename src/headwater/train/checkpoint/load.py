"""Load the newest checkpoint that proves undamaged; put damaged ones aside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from headwater.core.errors import CheckpointError
from headwater.core.files import move_folder
from headwater.machine.parallel.boxes import whole_shape
from headwater.machine.ranks.exchange import Ranks
from headwater.train.checkpoint.layout import MODEL, OPTIM, list_checkpoints, list_damaged
from headwater.train.checkpoint.shards import DTYPES, Read, reads_of
from headwater.train.checkpoint.tensor_file import CheckedTensors, copy_box_
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

    def __init__(self, path: Path, kind: str = "") -> None:
        """`kind`: MODEL or OPTIM; "": both, each named after its kind."""
        self._path, self._prefix, self._manifest = path, kind and f"{kind}.", checked_manifest(path)
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
        entry = self._table[self._prefix + name]
        if entry["dtype"] not in DTYPES:
            raise CheckpointError(f"{self._path} is damaged: its manifest.json has tensors of {entry['dtype']!r:.100}")
        tensor = torch.empty(entry["shape"], dtype=DTYPES[entry["dtype"]])
        self.copy_into_({name: tensor}, Ranks())
        return tensor

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of every tensor by its name."""
        return {name: tuple(self._table[self._prefix + name]["shape"]) for name in self}

    def require_shapes(self, tensors: Mapping[str, Tensor], ranks: Ranks) -> None:
        """Raise CheckpointError unless each of these tensors, or the whole of a rank's part, is there in its shape."""
        for name, tensor in tensors.items():
            named, expected = self._prefix + name, list(whole_shape(name, tensor.shape, ranks.mesh))
            if (found := self._table.get(named, {}).get("shape")) != expected:
                kept = "is missing" if found is None else f"has the shape {found}"
                raise CheckpointError(f"{self._path} doesn't fit this run: {named}, {expected} here, {kept} there")

    @torch.no_grad()
    def copy_into_(self, tensors: Mapping[str, Tensor], ranks: Ranks) -> None:
        """Fill what this rank has of some tensors; what is read, and no more, is checked.

        Each file is read where these tensors lie. Raises CheckpointError when one is damaged, isn't there or has
        another shape.
        """
        self.require_shapes(tensors, ranks)
        by_file: dict[str, list[Read]] = {}
        try:
            for name, tensor in tensors.items():
                for read in reads_of(self._prefix + name, tensor, self._table[self._prefix + name], ranks):
                    by_file.setdefault(read.file, []).append(read)
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{self._path} has a table of tensors that makes no sense: {error!r:.200}") from None
        for file_name, reads in by_file.items():
            file = self._opened(file_name)
            found = [(file.entry_of(*read.saved), read) for read in reads]
            for entry, read in sorted(found, key=lambda each: each[0].start):  # so that no block is read twice
                copy_box_(read.target, file, entry, read.offsets)

    def _opened(self, name: str) -> CheckedTensors:
        """Return a file, opened once as long as there aren't MAX_OPEN_FILES: a system allows a process about 1,000."""
        if name not in self._files:
            if len(self._files) == MAX_OPEN_FILES:
                self.__exit__()
            self._files[name] = CheckedTensors(self._path / name, self._manifest)
        return self._files[name]


def saved_shapes(path: Path, kind: str) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor of a kind that a checkpoint has, by name."""
    return StoredTensors(path, kind).shapes()


def load_state_(
    path: Path, model: Mapping[str, Tensor], optim: Mapping[str, Tensor], ranks: Ranks | None = None
) -> None:
    """Copy a checkpoint into these tensors, which may be a part of it, as `StoredTensors.copy_into_` does."""
    with StoredTensors(path) as stored:
        stored.copy_into_(_by_kind(model, optim), ranks or Ranks())


def load_on_all_(ranks: Ranks, path: Path, model: Mapping[str, Tensor], optim: Mapping[str, Tensor]) -> str | None:
    """Copy a checkpoint into every rank's tensors; return, on every rank, what one of them found damaged, or None.

    All ranks call it together. Raises CheckpointError where a tensor isn't in it in this shape: that is no damage.
    """
    tensors, damage = _by_kind(model, optim), None
    with StoredTensors(path) as stored:
        stored.require_shapes(tensors, ranks)
        try:
            stored.copy_into_(tensors, ranks)
        except CheckpointError as error:
            damage = str(error)
    ranks.wait()  # for one that reads for longer than a step's exchange may take
    return next((found for found in ranks.gather(damage) if found is not None), None)


def _by_kind(model: Mapping[str, Tensor], optim: Mapping[str, Tensor]) -> dict[str, Tensor]:
    kinds = ((MODEL, model), (OPTIM, optim))
    return {f"{kind}.{name}": tensor for kind, tensors in kinds for name, tensor in tensors.items()}


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
