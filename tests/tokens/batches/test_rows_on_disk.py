"""Rows on disk are those that packing gives; a store is read through once, and again when a file of it was touched."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from headwater.core.errors import StoreError
from headwater.core.files import read_json
from headwater.tokens.batches.pack import pack_source
from headwater.tokens.batches.rows import are_current, build_rows, open_packed, rows_key
from headwater.tokens.read import open_stores
from headwater.tokens.write import EncodedDocument

SEQ_LEN = 8


@pytest.fixture
def tokens(make_tokens, tmp_path) -> Path:
    """Tokens of two sources, one of them with held-out text."""
    random = np.random.default_rng(0)

    def documents(name: str) -> list[EncodedDocument]:
        return [EncodedDocument(random.integers(32, 500, n), int(n), f"{name}/{n}") for n in random.integers(0, 30, 20)]

    splits = {"train": {"a": documents("a"), "b": documents("b")}, "validation": {"a": documents("a")}}
    return make_tokens(tmp_path / "tokens", splits)


def key_of(tokens: Path, seq_len: int = SEQ_LEN) -> str:
    return rows_key(read_json(tokens / "manifest.json")["digest"], seq_len)


@pytest.fixture
def rows(tokens) -> Path:
    build_rows(tokens, tokens.with_name("rows"), SEQ_LEN, key_of(tokens))
    return tokens.with_name("rows")


@pytest.mark.parametrize("split", ["train", "validation"])
def test_rows_that_are_mapped_are_those_that_packing_gives(tokens, rows, split):
    found = open_packed(tokens, rows, split, SEQ_LEN)
    packed = {name: pack_source(store, SEQ_LEN) for name, store in open_stores(tokens, split).items()}
    assert found.keys() == packed.keys()
    for name, source in found.items():
        for array in ("row_ptr", "chunk_start", "chunk_len"):
            mapped, made = getattr(source.index, array), getattr(packed[name].index, array)
            assert mapped.dtype == made.dtype == np.int64
            assert mapped.tolist() == made.tolist(), (name, array)
            assert not mapped.flags.writeable
        assert source.digest == packed[name].digest


def change_byte(path: Path, with_old_times: bool = False) -> None:
    times, data = path.stat(), bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    if with_old_times:
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.parametrize(
    "touch",
    [
        lambda tokens, rows: change_byte(tokens / "train/b/00000.bin"),
        lambda tokens, rows: change_byte(tokens / "train/b/00000.bin", with_old_times=True),
        lambda tokens, rows: change_byte(rows / "train/b/chunk_len.npy"),
        lambda tokens, rows: change_byte(rows / "manifest.json"),
        lambda tokens, rows: (rows / "validation/a/row_ptr.npy").unlink(),
        lambda tokens, rows: (tokens / "train/b/00000.ids").touch(),
        lambda tokens, rows: os.replace(shutil.copy2(tokens / "train/a/00000.off", tokens / "x"), tokens / "train/a/00000.off"),
        lambda tokens, rows: (tokens / "train/a/extra").write_bytes(b""),
    ],
)  # fmt: skip
def test_a_file_that_is_not_the_one_that_was_verified_is_noticed(tokens, rows, touch):
    assert are_current(rows, tokens, key_of(tokens))
    touch(tokens, rows)
    assert not are_current(rows, tokens, key_of(tokens))


def test_rows_of_another_length_or_other_tokens_are_not_these(tokens, rows):
    assert not are_current(rows, tokens, key_of(tokens, 2 * SEQ_LEN))
    assert not are_current(rows, tokens, rows_key("sha256:other", SEQ_LEN))
    assert open_packed(tokens, rows, "train", 2 * SEQ_LEN)["a"].index.seq_len == 2 * SEQ_LEN, "packed where it is asked"


def test_nothing_is_built_of_a_damaged_store_and_what_was_there_stays(tokens, rows):
    path = tokens / "train/b/00000.bin"
    change_byte(path)
    before = (rows / "manifest.json").read_bytes()
    with pytest.raises(StoreError, match=r"00000\.bin is damaged"):
        build_rows(tokens, rows, SEQ_LEN, key_of(tokens))
    with pytest.raises(StoreError, match=r"00000\.bin is damaged"):
        open_packed(tokens, rows, "train", SEQ_LEN)
    assert (rows / "manifest.json").read_bytes() == before
    change_byte(path)
    build_rows(tokens, rows, SEQ_LEN, key_of(tokens))
    assert are_current(rows, tokens, key_of(tokens)), "the bytes are back, in a file of other times"


def test_a_store_that_is_current_is_not_read(tokens, rows):
    def bytes_read() -> int:
        return int(Path("/proc/self/io").read_text().split("rchar: ")[1].split()[0])

    sources = open_packed(tokens, rows, "train", SEQ_LEN)  # imports and caches
    before = bytes_read()
    sources = open_packed(tokens, rows, "train", SEQ_LEN)
    manifests = [*tokens.rglob("manifest.json"), rows / "manifest.json"]
    most = 4 * sum(path.stat().st_size for path in manifests) + 3 * len(list(rows.rglob("*.npy"))) * 128
    assert bytes_read() - before < most
    assert "starts" not in vars(sources["a"].store)
