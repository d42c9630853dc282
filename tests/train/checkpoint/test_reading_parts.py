"""A rank reads what it needs of a checkpoint, and proves just that."""

from __future__ import annotations

from pathlib import Path

import torch
from training_state import save_checkpoint

from headwater.machine.ranks.exchange import Ranks
from headwater.train.checkpoint.layout import checkpoint_dir, list_checkpoints
from headwater.train.checkpoint.load import newest_checkpoint, resume_from_
from headwater.train.checkpoint.tensor_file import BLOCK_BYTES, CheckedTensors, copy_box_
from headwater.train.checkpoint.verify import checked_manifest

ROWS, WIDTH = 4096, 256  # 4 MiB, 64 rows a block


def save(run_dir: Path, step: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(step)
    model = {"big": torch.randn(ROWS, WIDTH, generator=generator), "small": torch.randn(7, generator=generator)}
    save_checkpoint(run_dir, step, model, {"big.mean": torch.zeros(3)}, {"rows_consumed": step})
    return model


def change_row(path: Path, row: int) -> None:
    """Change a byte of the largest tensor of a checkpoint, in one row."""
    file = path / "model.safetensors"
    with CheckedTensors(file, checked_manifest(path)) as tensors:
        at = tensors.entry_of("big", torch.float32, (ROWS, WIDTH)).start + 4 * WIDTH * row
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)


def rows_of(path: Path, first: int, count: int) -> torch.Tensor:
    target = torch.zeros(count, WIDTH)
    with CheckedTensors(path / "model.safetensors", checked_manifest(path)) as tensors:
        copy_box_(target, tensors, tensors.entry_of("big", torch.float32, (ROWS, WIDTH)), (first, 0))
    return target


def bytes_read() -> int:
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    return int(dict(line.split(": ") for line in lines)["rchar"])


def test_a_quarter_of_a_tensor_is_a_quarter_of_the_bytes(tmp_path):
    save(tmp_path, 1)
    path = checkpoint_dir(tmp_path, 1)
    checked_manifest(path)
    before = bytes_read()
    rows_of(path, ROWS // 4, ROWS // 4)
    share = 4 * WIDTH * ROWS // 4
    beside = sum((path / name).stat().st_size for name in ("manifest.json", "model.sums"))
    assert share <= bytes_read() - before <= share + 3 * BLOCK_BYTES + 3 * beside  # the first block has the header


def test_a_resume_takes_the_checkpoint_before_one_whose_tensors_are_damaged(tmp_path):
    older = save(tmp_path, 1)
    save(tmp_path, 2)
    change_row(checkpoint_dir(tmp_path, 2), 0)
    said, target = list[str](), {"big": torch.zeros(ROWS, WIDTH), "small": torch.zeros(7)}
    newest = newest_checkpoint(tmp_path, said.append)
    assert newest is not None
    assert (newest.step, said) == (2, []), "no tensor has been read yet"
    found = resume_from_(newest, tmp_path, target, {}, said.append, Ranks())
    assert (found.step, found.state["rows_consumed"]) == (1, 1)
    assert all(torch.equal(target[name], older[name]) for name in older)
    assert [step for step, _ in list_checkpoints(tmp_path)] == [1]
    assert "renamed to damaged-step-000000002" in said[0]
