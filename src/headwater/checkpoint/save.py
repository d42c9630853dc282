"""Write a checkpoint so that it is either complete under its name or not there at all."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from headwater.checkpoint.layout import (
    FORMAT,
    FORMAT_VERSION,
    MODEL_FILE,
    OPTIM_FILE,
    STATE_FILE,
    checkpoint_dir,
    list_checkpoints,
)
from headwater.checkpoint.tensor_file import write_tensors
from headwater.checkpoint.verify import is_whole_on_disk
from headwater.files import (
    DigestedFile,
    json_bytes,
    new_folder,
    remove_folder,
    require_writable,
    write_json,
)
from headwater.records import no_owner
from headwater.seals import seal

MIN_KEPT = 2  # a damaged one leaves another


def save_checkpoint(
    run_dir: Path,
    step: int,
    model: Mapping[str, Tensor],
    optim: Mapping[str, Tensor],
    state: dict[str, Any],
    require_owner: Callable[[], None] = no_owner,
) -> int:
    """Commit the checkpoint of `step` and return its size in bytes; one that is there already is left alone.

    Every file is digested while it is written; the digests go into the manifest, which is written last; the folder is
    flushed and then renamed. Raises StorageError, with nothing changed, when the disk refuses, and what `require_owner`
    raises (LockedError) when another process has taken the run folder over meanwhile: a stale one commits nothing.
    """
    target = checkpoint_dir(run_dir, step)
    if target.exists():
        return _folder_bytes(target)
    need_bytes = sum(tensor.numel() * tensor.element_size() for tensor in [*model.values(), *optim.values()])
    require_owner()
    # a fifth more than the tensors: other writers take from the same disk meanwhile
    require_writable(target.parent, int(1.2 * need_bytes))
    try:
        with new_folder(target, need_bytes=need_bytes, before_commit=require_owner) as folder:
            _write_files(folder, step, model, optim, state)
    except FileNotFoundError:
        require_owner()  # whoever took the run folder over has tidied this process's files away
        raise
    return _folder_bytes(target)


def _write_files(
    folder: Path, step: int, model: Mapping[str, Tensor], optim: Mapping[str, Tensor], state: dict[str, Any]
) -> None:
    files = {
        MODEL_FILE: _written(folder / MODEL_FILE, lambda file: write_tensors(file, model)),
        OPTIM_FILE: _written(folder / OPTIM_FILE, lambda file: write_tensors(file, optim)),
        STATE_FILE: _written(folder / STATE_FILE, lambda file: file.write(json_bytes(state))),
    }
    manifest = {"format": FORMAT, "format_version": FORMAT_VERSION, "step": step, "files": files}
    write_json(folder / "manifest.json", seal(manifest))


def _written(path: Path, write: Callable[[DigestedFile], object]) -> dict[str, Any]:
    with DigestedFile(path) as file:
        write(file)
    return file.facts()


def _folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def retain_newest(run_dir: Path, num_kept: int, pinned: Collection[int] = ()) -> None:
    """Remove what is older than the newest `num_kept` checkpoints, at least two, that prove whole.

    Those are read again from the disk first, every byte of them: a checkpoint that is damaged or that the disk
    never got counts for nothing, and as long as fewer than that are whole, nothing is removed. Those of the steps
    `pinned` stay, too.
    """
    checkpoints = list_checkpoints(run_dir)
    wanted = max(MIN_KEPT, num_kept)
    if len(checkpoints) <= wanted:
        return
    num_whole = 0
    for step, path in checkpoints:
        if num_whole < wanted:
            num_whole += is_whole_on_disk(path)
        elif step not in pinned:
            remove_folder(path)
