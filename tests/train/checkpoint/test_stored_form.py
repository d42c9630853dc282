"""What is on the disk stays what it is: names, digests, headers and blocks, against plain accounts of each."""

from __future__ import annotations

import hashlib
import io
import json
from math import prod

import numpy as np
import pytest
import torch
import xxhash
from golden_rows import rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from training_state import save

from headwater.core.errors import StorageError
from headwater.core.files import read_json
from headwater.train.checkpoint import save as saving
from headwater.train.checkpoint import tensor_file as module
from headwater.train.checkpoint.tensor_digest import SALTS, tensor_digest
from headwater.train.checkpoint.tensor_file import CheckedTensors, copy_box_, read_header, write_tensors

MASK = (1 << 64) - 1


def split_mix(number: int, salt: int) -> int:
    """The generator of Steele et al. (2014), in whole numbers of Python."""
    mixed = ((number + 1) * 0x9E3779B97F4A7C15 + salt) & MASK
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB & MASK
    return (mixed ^ (mixed >> 31)) | 1


@given(rows=st.integers(1, 9), columns=st.integers(1, 9), seed=st.integers(0, 999))
def test_a_digest_is_two_sums_of_words_times_numbers_of_their_row_and_column(rows, columns, seed):
    words = np.random.default_rng(seed).integers(0, 1 << 32, (rows, columns), dtype=np.uint32)
    sums = [
        sum(
            int(words[r, c]) * split_mix(r, by_row) * split_mix(c, by_column)
            for r in range(rows)
            for c in range(columns)
        )
        for by_row, by_column in SALTS
    ]
    found = tensor_digest(torch.from_numpy(words.view(np.int32)))
    assert found == "sum128:" + "".join(f"{each & MASK:016x}" for each in sums)


def test_a_digest_of_today_is_that_of_files_written_before():
    assert tensor_digest(torch.arange(6, dtype=torch.float32).view(2, 3)) == "sum128:8cdbf2d47a60000079c039e5c8200000"


def test_a_checkpoint_of_today_is_read_by_what_read_it_before(tmp_path):
    """Its manifest, but for digests, as it has been since format 3."""
    num_bytes = save(tmp_path, 3)
    folder = tmp_path / "checkpoints" / "step-000000003"
    manifest = read_json(folder / "manifest.json")
    names = ["model.safetensors", "model.sums", "optim.safetensors", "optim.sums", "state.json"]
    assert sorted(path.name for path in folder.iterdir()) == sorted([*names, "manifest.json"])
    assert num_bytes == sum(path.stat().st_size for path in folder.iterdir())
    assert manifest["files"].keys() == set(names)
    for name, facts in manifest["files"].items():
        data = (folder / name).read_bytes()
        assert facts == {"bytes": len(data), "digest": f"sha256:{hashlib.sha256(data).hexdigest()}"}
        if name.endswith(".safetensors"):
            assert int.from_bytes(data[:8], "little") % 8 == 0, "tensors begin at a multiple of 8"
            sums = [xxhash.xxh3_64_intdigest(data[at : at + 65536]) for at in range(0, len(data), 65536)]
            assert (folder / name).with_suffix(".sums").read_bytes() == np.array(sums, "<u8").tobytes()
    tensors = {
        name: {key: value for key, value in entry.items() if key != "digest"}
        for name, entry in manifest["tensors"].items()
    }
    shapes = {"embed.weight": [5, 3], "norm.weight": [3]}
    assert tensors == {
        f"{kind}.{name}{slot}": {
            "dtype": "float32",
            "shape": shape,
            "chunks": [{"file": f"{kind}.safetensors", "offsets": [0] * len(shape), "shape": shape}],
        }
        for kind, slot in (("model", ""), ("optim", ".mean"))
        for name, shape in shapes.items()
    }
    rest = {"format": "headwater-checkpoint", "format_version": 3, "step": 3, "world_size": 1}
    assert {name: manifest[name] for name in rest} == rest


class Bytes:
    """Bytes as the reader of a tensor file takes them, and what was asked of them."""

    def __init__(self, data: bytes) -> None:
        self.data, self.num_bytes, self.asked = data, len(data), 0

    def read(self, start: int, num_bytes: int) -> memoryview:
        self.asked += num_bytes
        return memoryview(bytearray(self.data[start : start + num_bytes]))


def file_of(entry: dict[str, object], num_bytes: int = 24) -> Bytes:
    header = json.dumps({"a": entry}).encode()
    return Bytes(len(header).to_bytes(8, "little") + header + bytes(num_bytes))


GOOD = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}


@pytest.mark.parametrize("wrong", rows("a_header_that_cannot_be_is_refused"), ids=str)
def test_a_header_that_cannot_be_is_refused(wrong):
    assert read_header(file_of(GOOD))["a"].shape == (2, 3)
    with pytest.raises(ValueError, match="'a'"):
        read_header(file_of(GOOD | wrong))


@given(
    data=st.data(), read_bytes=st.integers(1, 200), dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.int64])
)
def test_any_box_of_a_tensor_is_what_was_written_there_and_only_its_rows_are_read(data, read_bytes, dtype):
    shape = data.draw(st.lists(st.integers(1, 7), max_size=3))
    whole = torch.arange(prod(shape)).reshape(shape).to(dtype)
    file = io.BytesIO()
    write_tensors(file, {"first": torch.ones(3), "whole": whole})
    stored = Bytes(file.getvalue())
    entry = read_header(stored)["whole"]
    box = [sorted(data.draw(st.tuples(st.integers(0, size), st.integers(0, size)))) for size in shape]
    expected = whole[tuple(slice(*part) for part in box)]
    target, stored.asked = torch.full_like(expected, 99), 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "READ_BYTES", read_bytes)
        copy_box_(target, stored, entry, [begin for begin, _ in box])
    assert torch.equal(target, expected)
    rows = (box[0][1] - box[0][0] if shape else 1) if expected.numel() else 0
    assert stored.asked == rows * prod(shape[1:]) * dtype.itemsize


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 999), starts=st.lists(st.integers(0, 399_999), min_size=1, max_size=12))
def test_reads_of_a_checked_file_are_its_bytes_in_any_order(tmp_path, seed, starts):
    folder = tmp_path / "checkpoints" / f"step-{seed:09d}"
    if not folder.exists():
        generator = torch.Generator().manual_seed(seed)
        model = {"a": torch.randint(0, 256, (400_001,), dtype=torch.uint8, generator=generator)}
        saver = saving.Saver(tmp_path)
        saver.begin(seed, model, {}, {})
        saver.finish()
        saver.close()
    path, generator = folder / "model.safetensors", np.random.default_rng(seed)
    stored = path.read_bytes()
    with CheckedTensors(path, read_json(folder / "manifest.json")) as file:
        assert file.num_bytes == len(stored)
        for start in starts:
            count = int(generator.integers(1, min(200_000, len(stored) - start)))
            assert bytes(file.read(start, count)) == stored[start : start + count]


@pytest.mark.parametrize(
    ("num_kept", "num_saves", "num_lasting", "there", "needed"), rows("a_run_needs_room_for_what_it_keeps_and_one_more")
)
def test_a_run_needs_room_for_what_it_keeps_and_one_more(
    tmp_path, monkeypatch, num_kept, num_saves, num_lasting, there, needed
):
    monkeypatch.setattr(saving, "list_checkpoints", lambda run_dir: [None] * there)
    each = int(saving.SPACE_MARGIN * 1000)
    for free, is_enough in [(needed * each, True), (needed * each - 1, False)]:
        monkeypatch.setattr(saving, "free_bytes", lambda run_dir, free=free: free)
        if is_enough:
            saving.require_space(tmp_path, 1000, num_kept, num_saves, num_lasting)
        else:
            with pytest.raises(StorageError, match=f"{needed} more"):
                saving.require_space(tmp_path, 1000, num_kept, num_saves, num_lasting)
    saving.require_space(tmp_path, 1000, num_kept, 0, num_lasting)
