from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.core.errors import StoreError
from headwater.core.files import write_json
from headwater.tokens.format import block_sums, manifest_digest, token_dtype
from headwater.tokens.read import TokenStore, open_stores
from headwater.tokens.tokenizer.settings import BEGIN_ID, END_ID
from headwater.tokens.write import EncodedDocument, write_store

DOCUMENTS = [
    EncodedDocument([300, 40, 41], 7, "a/1"),
    EncodedDocument([], 0, 'tîtle "2"'),
    EncodedDocument([99], 3, "a/3"),
]


def test_the_bytes_of_a_store_are_these(tmp_path):
    manifest = write_store(tmp_path / "s", DOCUMENTS, 512, "sha256:tokenizer")
    read = {path.name: path.read_bytes() for path in (tmp_path / "s").iterdir()}
    assert read.pop("manifest.json") and sorted(read) == [
        f"00000.{kind}" for kind in ("bin", "ids", "len", "off", "sum")
    ]
    assert read["00000.bin"].hex(" ", 2) == "0000 2c01 2800 2900 0100 0000 0100 0000 6300 0100"
    assert np.frombuffer(read["00000.off"], "<u8").tolist() == [0, 5, 7, 10]
    assert np.frombuffer(read["00000.len"], "<u8").tolist() == [7, 0, 3]
    assert read["00000.ids"].decode() == '"a/1"\n"tîtle \\"2\\""\n"a/3"\n'
    assert read["00000.sum"].hex() == "c2d149b3b0339fa26fd1804b21b2ee456f60b8586e6b69fc809ec430093d6237"
    assert manifest["digest"] == "sha256:000be4b00ffffe90fd6afdfb1c227a9109b6ac61ad225206b4d7f6ce36dbbb6a"


def test_blocks_are_one_mebibyte_and_hashed_by_xxh3_64():
    sums = block_sums(b"\0" * ((1 << 20) + 1))
    # the second is the published XXH3_64bits value of a single zero byte
    assert [f"{value:016x}" for value in sums.tolist()] == ["918780b90550bf34", "c44bdff4074eecdb"]
    assert block_sums(b"").tolist() == []


@pytest.mark.parametrize(("vocab_size", "dtype"), [(288, "<u2"), (1 << 16, "<u2"), ((1 << 16) + 1, "<u4")])
def test_the_narrowest_integer_that_holds_the_vocabulary_is_used(tmp_path, vocab_size, dtype):
    assert token_dtype(vocab_size) == np.dtype(dtype)
    write_store(tmp_path / "s", [EncodedDocument([vocab_size - 1], 1, "x")], vocab_size, "t")
    assert TokenStore(tmp_path / "s").slice(0, 3).tolist() == [BEGIN_ID, vocab_size - 1, END_ID]


# each id with whether it is learned, as of a conversation, or None as of any other text
documents_of_ids = st.lists(st.lists(st.tuples(st.integers(32, 299), st.booleans()), max_size=12), max_size=8)


@given(documents_of_ids, st.booleans(), st.integers(1, 40))
@settings(max_examples=30)
def test_what_is_written_is_read_whatever_the_size_of_the_shards(tmp_path_factory, drawn, is_talk, shard_tokens):
    folder = tmp_path_factory.mktemp("store") / "s"
    documents, learned = ([[pair[at] for pair in pairs] for pairs in drawn] for at in (0, 1))
    encoded = [
        EncodedDocument(ids, 2 * len(ids), f"d{number}", np.array(learned[number], dtype=bool) if is_talk else None)
        for number, ids in enumerate(documents)
    ]
    write_store(folder, iter(encoded), 300, "t", shard_tokens)
    store = TokenStore(folder)
    expected = [[BEGIN_ID, *ids, END_ID] for ids in documents]
    flat = [token for ids in expected for token in ids]
    places = zip(store.starts[:-1].tolist(), store.starts[1:].tolist())
    assert [store.slice(start, stop).tolist() for start, stop in places] == expected
    backwards = np.arange(store.num_tokens)[::-1]
    assert store.gather(backwards).tolist() == flat[::-1]
    assert [store.document_id(number) for number in range(len(encoded))] == [document.id for document in encoded]
    assert store.num_bytes == sum(document.num_bytes for document in encoded)
    for shard in store.manifest["shards"]:  # a document never crosses them, and none is fuller than it must be
        assert shard["num_tokens"] <= shard_tokens or shard["num_documents"] == 1
    if is_talk and documents:
        is_target = [each for ids in learned for each in (False, *ids, False)]
        assert store.are_targets(backwards).tolist() == is_target[::-1]
        assert store.num_targets == sum(is_target)
    else:
        assert not store.has_targets and store.num_targets == len(flat) - len(documents)


def test_the_bytes_of_the_targets_are_these(tmp_path):
    learned = np.array([False, True, True, False, False, False, False, True])
    documents = [EncodedDocument([40] * 8, 8, "a", learned), EncodedDocument([41], 1, "b", np.array([True]))]
    manifest = write_store(tmp_path / "s", documents, 300, "t")
    # begin, eight ids, end, begin, one id, end; the lowest bit is the first token's
    assert (tmp_path / "s/00000.tgt").read_bytes() == bytes([0b00001100, 0b00001001])
    assert manifest["shards"][0]["num_targets"] == TokenStore(tmp_path / "s").num_targets == 4


@pytest.mark.parametrize("wrong", ["num_targets", "files"])
def test_a_manifest_whose_targets_have_no_file_or_no_number_is_refused(tmp_path, wrong):
    manifest = write_store(tmp_path / "s", [EncodedDocument([40], 1, "a", np.array([True]))], 300, "t")
    shard = manifest["shards"][0]
    del (shard["files"] if wrong == "files" else shard)["tgt" if wrong == "files" else "num_targets"]
    write_json(tmp_path / "s/manifest.json", {**manifest, "digest": manifest_digest(manifest)})
    with pytest.raises(StoreError, match="the number of targets of shard 0 can't be"):
        TokenStore(tmp_path / "s")


@pytest.mark.parametrize("token", [512, 70_000, 65_536, -1, 1 << 40])
def test_an_id_outside_the_vocabulary_is_refused_at_writing_and_leaves_nothing(tmp_path, token):
    with pytest.raises(StoreError, match=f"'bad' holds token id {token}, outside the vocabulary of 512"):
        write_store(tmp_path / "s", [DOCUMENTS[0], EncodedDocument([40, token], 2, "bad")], 512, "t")
    assert list(tmp_path.iterdir()) == []


def big_store(folder):
    ids = np.arange(700_000) % 250 + 40
    write_store(folder, [EncodedDocument(ids, 700_000, "big")] * 2, 300, "t")


def test_opening_reads_each_byte_once(tmp_path):
    big_store(tmp_path / "s")
    size = sum(path.stat().st_size for path in (tmp_path / "s").iterdir())
    before = bytes_read()
    TokenStore(tmp_path / "s")
    verified = bytes_read() - before
    TokenStore.without_verifying(tmp_path / "s")
    manifests = 1 << 16  # read twice, and small
    assert size <= verified <= size + manifests
    assert bytes_read() - before - verified <= manifests


def bytes_read() -> int:
    return int(Path("/proc/self/io").read_text().split("rchar: ")[1].split()[0])


def test_every_flipped_bit_truncation_or_missing_file_is_noticed(tmp_path):
    talks = [
        EncodedDocument(each.ids, each.num_bytes, each.id, np.ones(len(each.ids), dtype=bool)) for each in DOCUMENTS
    ]
    write_store(tmp_path / "good", talks * 3, 512, "t")
    rng = random.Random(0)
    names = sorted(path.name for path in (tmp_path / "good").iterdir())
    for trial in range(120):
        shutil.copytree(tmp_path / "good", tmp_path / "bad")
        path = tmp_path / "bad" / names[trial % len(names)]
        data = bytearray(path.read_bytes())
        fault = ("flip", "cut", "remove")[trial // len(names) % 3]
        if fault == "flip":
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            path.write_bytes(data)
        elif fault == "cut":
            path.write_bytes(data[: rng.randrange(len(data))])
        else:
            path.unlink()
        with pytest.raises(StoreError):
            TokenStore(tmp_path / "bad")
        shutil.rmtree(tmp_path / "bad")


@pytest.fixture
def tokens_of(make_tokens, tmp_path):
    return lambda **sources: make_tokens(tmp_path, {"train": sources})


def test_a_manifest_of_other_bytes_is_noticed_even_where_it_says_the_same(tokens_of, tmp_path):
    tokens_of(a=DOCUMENTS)
    for path in (tmp_path / "manifest.json", tmp_path / "train" / "a" / "manifest.json"):
        good = path.read_bytes()
        path.write_bytes(good + b"\n")
        with pytest.raises(StoreError, match="altered"):
            open_stores(tmp_path, "train")
        path.write_bytes(good)
    assert list(open_stores(tmp_path, "train")) == ["a"]


def test_tokens_of_an_older_headwater_are_refused_with_what_to_do(tokens_of, tmp_path):
    tokens_of(a=DOCUMENTS)
    write_json(tmp_path / "manifest.json", json.loads((tmp_path / "manifest.json").read_text()) | {"format_version": 1})
    with pytest.raises(StoreError, match="version 1; this headwater reads version 2; build it again"):
        open_stores(tmp_path, "train")
