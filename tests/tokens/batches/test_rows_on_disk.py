"""Rows on disk are those that packing gives; a store is read through once, and again when a file of it was touched."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from headwater.core.errors import StoreError
from headwater.core.files import digest_json, read_json, write_json
from headwater.core.manifests import seal
from headwater.tokens.batches.pack import pack_source
from headwater.tokens.batches.rows import are_current, build_rows, open_packed, rows_key
from headwater.tokens.format import TOKENS_FORMAT, TOKENS_VERSION
from headwater.tokens.read import open_stores
from headwater.tokens.write import EncodedDocument, write_store

SEQ_LEN = 8


@pytest.fixture
def tokens(tmp_path) -> Path:
    """Tokens of two sources, one of them with held-out text."""
    folder, random = tmp_path / "tokens", np.random.default_rng(0)
    splits: dict[str, dict[str, dict]] = {"train": {}, "validation": {}}
    for split, name in (("train", "a"), ("train", "b"), ("validation", "a")):
        lengths = random.integers(0, 30, 20)
        documents = [EncodedDocument(random.integers(32, 500, n), int(n), f"{name}/{n}") for n in lengths]
        store = write_store(folder / split / name, documents, 512, "t")
        splits[split][name] = {"digest": store["digest"], "num_documents": store["num_documents"]}
    facts = {"format": TOKENS_FORMAT, "format_version": TOKENS_VERSION, "splits": splits}
    write_json(folder / "manifest.json", seal(facts | {"digest": digest_json(splits)}))
    return folder


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
        assert [source.documents_of(row) for row in range(source.num_rows)] == [
            packed[name].documents_of(row) for row in range(source.num_rows)
        ]


def change_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "touch",
    [
        lambda tokens, rows: change_byte(tokens / "train/b/00000.bin"),
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


def test_a_byte_put_in_with_the_old_times_is_noticed(tokens, rows):
    path = tokens / "train/b/00000.bin"
    times = path.stat()
    change_byte(path)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
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
        lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
        return int(dict(line.split(": ") for line in lines)["rchar"])

    large = tokens / "train/a/00000.bin"
    sources = open_packed(tokens, rows, "train", SEQ_LEN)  # imports and caches
    before = bytes_read()
    sources = open_packed(tokens, rows, "train", SEQ_LEN)
    manifests = [*tokens.rglob("manifest.json"), rows / "manifest.json"]
    most = 4 * sum(path.stat().st_size for path in manifests) + 3 * len(list(rows.rglob("*.npy"))) * 128
    assert bytes_read() - before < most
    assert "starts" not in vars(sources["a"].store), large
