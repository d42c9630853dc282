"""Write a checkpoint so that it is either complete under its name or not there at all."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save as to_safetensors
from torch import Tensor

from headwater.checkpoint.layout import (
    FILES,
    FORMAT,
    FORMAT_VERSION,
    MODEL_FILE,
    OPTIM_FILE,
    STATE_FILE,
    checkpoint_dir,
    list_checkpoints,
)
from headwater.files import digest_file, new_folder, remove_folder, require_writable, write_bytes, write_json


def save_checkpoint(
    run_dir: Path, step: int, model: Mapping[str, Tensor], optim: Mapping[str, Tensor], state: dict[str, Any]
) -> int:
    """Commit the checkpoint of `step` and return its size in bytes; one that is there already is left alone.

    Every file's digest goes into the manifest, which is written last; the folder is flushed and then renamed.
    Raises StorageError, with nothing changed, when the disk refuses.
    """
    target = checkpoint_dir(run_dir, step)
    if target.exists():
        return _folder_bytes(target)
    need_bytes = sum(tensor.numel() * tensor.element_size() for tensor in [*model.values(), *optim.values()])
    # a fifth more than the tensors: other writers take from the same disk meanwhile
    require_writable(target.parent, int(1.2 * need_bytes))
    with new_folder(target) as folder:
        write_bytes(folder / MODEL_FILE, to_safetensors(_contiguous(model)))
        write_bytes(folder / OPTIM_FILE, to_safetensors(_contiguous(optim)))
        write_json(folder / STATE_FILE, state)
        files = {
            name: {"bytes": (folder / name).stat().st_size, "digest": digest_file(folder / name)} for name in FILES
        }
        manifest = {"format": FORMAT, "format_version": FORMAT_VERSION, "step": step, "files": files}
        write_json(folder / "manifest.json", manifest)
    return _folder_bytes(target)


def _contiguous(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def retain_newest(run_dir: Path, num_kept: int, pinned: Collection[int] = ()) -> None:
    """Remove all but the newest `num_kept` checkpoints, at least two, so that a damaged one leaves another.

    Those of the steps `pinned` stay, too.
    """
    for step, path in list_checkpoints(run_dir)[max(2, num_kept) :]:
        if step not in pinned:
            remove_folder(path)
