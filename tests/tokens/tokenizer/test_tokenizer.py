from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from pathlib import Path

import pytest
import tokenizers
from drawn_texts import texts_of
from hypothesis import given
from hypothesis import strategies as st

from headwater.core.errors import TokenizerError
from headwater.tokens.tokenizer.pattern import cut
from headwater.tokens.tokenizer.settings import NUM_SPECIAL, SPECIAL_IDS, SPECIAL_TOKENS, TokenizerSettings
from headwater.tokens.tokenizer.tokenizer import Tokenizer, merges_agree
from headwater.tokens.tokenizer.train import bytes_per_token, train_tokenizer

TEXT = """The river rises at its headwater, and the river ends where the sea begins: über 1,234 metres lower.
    return [value for value in values if value]  # don't


banana bananas ananas nana naan aaa aaaa aaaaaaaa abababab
Der Fluß fließt, die Flüsse fließen; 河流在源头 流流流 😀😀.
"""
ALPHABET = " \n\t\rabnBtTsS'é中流1234!?.,-_\u00a0\u3000\u200d\u0301😀ß"
drawn_text = texts_of(*SPECIAL_TOKENS[:3]) | st.text(ALPHABET, max_size=400)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer"
    texts = [TEXT, Path(argparse.__file__).read_text(encoding="utf-8")]
    train_tokenizer({"text": texts}, TokenizerSettings(vocab_size=1000), path, "key", lambda line: None)
    return path


@pytest.fixture(scope="module")
def tokenizer(folder) -> Tokenizer:
    return Tokenizer.load(folder)


@pytest.fixture(scope="module")
def theirs(folder):
    """The library's own tokenizer of the same file, whose format is what others read."""
    found = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    found.encode_special_tokens = True
    return found


def ids_of(theirs, text: str) -> list[int]:
    return theirs.encode(text, add_special_tokens=False).ids


@given(drawn_text)
def test_ids_are_the_librarys_every_text_comes_back_and_none_has_a_special_id(tokenizer, theirs, text):
    ids = tokenizer.encode(text)
    assert ids == ids_of(theirs, text)
    assert tokenizer.decode(ids) == text
    assert all(token >= NUM_SPECIAL for token in ids)


def test_every_character_is_cut_off_its_neighbours_as_the_library_does(tokenizer, theirs):
    # fewer of the long blocks: of Chinese, Korean and what no one has assigned
    codes = [*range(0, 0x3100, 3), *range(0x3100, sys.maxunicode + 1, 61)]
    characters = [chr(code) for code in codes if not 0xD800 <= code < 0xE000]
    texts = [f"ab{c}cd 1{c}2 {c}{c} {c}\n{c}'{c}x  {c}" for c in characters]
    found = theirs.encode_batch_fast(texts, add_special_tokens=False)
    differ = [text for text, ids, other in zip(texts, tokenizer.encode_many(texts), found) if ids != other.ids]
    assert not differ, differ[:10]


@pytest.mark.parametrize("run", [" ", "\n", "\u3000", " \n", "a", "ab", "中", "1", "!", "\r\n", "a'"])
def test_long_runs_are_encoded_as_the_library_does(tokenizer, theirs, run):
    text = (run * 30_000)[:30_000]
    assert tokenizer.encode(text) == ids_of(theirs, text)


def test_a_vocabulary_that_tiktoken_would_merge_otherwise_is_noticed(theirs):
    model = json.loads(theirs.to_str())["model"]
    merges = [tuple(merge if isinstance(merge, list) else merge.split(" ")) for merge in model["merges"]]
    ids = {token: at for token, at in model["vocab"].items() if token not in SPECIAL_IDS}
    assert merges_agree(ids, merges)
    assert not merges_agree(ids, [merges[1], merges[0], *merges[2:]])
    # "xyz" by the list is xy + z, and yz comes first: the list never merges x + yz, tiktoken would
    others = {"x": 0, "y": 1, "z": 2, "yz": 3, "xy": 4, "xyz": 5}
    assert not merges_agree(others, [("y", "z"), ("x", "y"), ("xy", "z")])
    assert merges_agree(others, [("y", "z"), ("x", "y"), ("x", "yz")])
    assert not merges_agree(others, [("y", "z"), ("x", "y")])


def test_every_byte_has_a_token_of_its_own(tokenizer):
    single = [token for token in range(tokenizer.vocab_size) if len(tokenizer.token_bytes(token)) == 1]
    assert sorted(tokenizer.token_bytes(token) for token in single) == [bytes([byte]) for byte in range(256)]


@pytest.mark.parametrize("text", ["a\ud800b", "\udfff" * 3])
def test_a_lone_surrogate_is_an_error_that_says_so(tokenizer, text):
    with pytest.raises(TokenizerError, match="lone surrogate"):
        tokenizer.encode(text)


@given(drawn_text)
def test_cutting_at_safe_places_changes_no_id(theirs, text):
    parts = cut(text, 24)
    assert "".join(parts) == text
    assert all(0 < len(part) <= 24 for part in parts)
    if all(_is_safe(text, place) for place in _places(parts)):
        assert [token for part in parts for token in ids_of(theirs, part)] == ids_of(theirs, text)


def _places(parts: list[str]) -> list[int]:
    return [len("".join(parts[:count])) for count in range(1, len(parts))]


def _is_safe(text: str, place: int) -> bool:
    before, after = text[place - 1], text[place]
    return (before == "\n" and not after.isspace()) or (after == " " and not before.isspace())


def test_ordinary_long_text_is_only_cut_at_safe_places():
    text = TEXT * 600
    assert all(_is_safe(text, place) for place in _places(cut(text, 1000)))


@pytest.mark.parametrize("character", ["x", " ", "\n", "-", "1", "\u0301"])
def test_a_megabyte_of_one_character_takes_seconds_at_most(tokenizer, character):
    text = character * 1_000_000
    started_at = time.perf_counter()
    ids = tokenizer.encode(text)
    seconds = time.perf_counter() - started_at
    assert tokenizer.decode_bytes(ids) == text.encode()
    assert seconds < 20, f"{seconds:.1f} s for one megabyte"


def test_bytes_per_token_is_counted_by_source(tokenizer):
    measured = bytes_per_token(tokenizer, {"words": [TEXT], "digits": ["12345"], "empty": []})
    assert measured == {"digits": 1.0, "words": round(len(TEXT.encode()) / len(tokenizer.encode(TEXT)), 4)}


def test_an_id_outside_the_vocabulary_is_an_error(tokenizer):
    with pytest.raises(TokenizerError, match="1000 is outside the vocabulary of 1000"):
        tokenizer.decode([1000])


@pytest.mark.parametrize(
    "change", [None, {"vocab_size": 1001}, {"vocab_size": None}, {"special": {}}, {"special": None}, {"digest": None}]
)
def test_a_damaged_file_or_a_manifest_that_does_not_fit_is_an_error(folder, tmp_path, change):
    copy = shutil.copytree(folder, tmp_path / "tokenizer")
    data = bytearray((copy / "tokenizer.json").read_bytes())
    data[len(data) // 2] ^= change is None
    (copy / "tokenizer.json").write_bytes(data)
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(manifest | (change or {})))
    with pytest.raises(TokenizerError, match="train it again"):
        Tokenizer.load(copy)


def test_a_folder_without_a_tokenizer_is_an_error(tmp_path):
    with pytest.raises(TokenizerError, match="not a headwater-tokenizer folder"):
        Tokenizer.load(tmp_path)
