"""The fast way gives the ids of the tokenizers library, whose format is what others read."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from headwater.tokens.tokenizer.settings import SPECIAL_IDS, TokenizerSettings
from headwater.tokens.tokenizer.tokenizer import Tokenizer, merges_agree
from headwater.tokens.tokenizer.train import train_tokenizer

LINES = [
    "The river rises at its headwater, and the river ends where the sea begins: über 1,234 metres lower.\n",
    "    return [value for value in values if value]  # don't\n\n\n",
    "banana bananas ananas nana naan aaa aaaa aaaaaaaa abababab\n",
    "Der Fluß fließt, die Flüsse fließen; 河流在源头 流流流 😀😀.\r\n\t",
]
ALPHABET = " \n\t\rabnBtTsS'é中流1234!?.,-_\u00a0\u3000\u200d\u0301😀ß"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A tokenizer of ours and the library's own of the same file."""
    folder = tmp_path_factory.mktemp("fast") / "tokenizer"
    texts = [*LINES, Path(argparse.__file__).read_text(encoding="utf-8")]
    settings = TokenizerSettings(vocab_size=1000)
    train_tokenizer({"mine": texts}, settings, folder, "key", lambda line: None)
    theirs = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    theirs.encode_special_tokens = True
    return Tokenizer.load(folder), theirs


def test_the_fast_way_is_taken(trained):
    assert trained[0]._fast is not None


@given(st.text(ALPHABET, max_size=400) | st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_ids_are_those_of_the_library(trained, text):
    ours, theirs = trained
    assert ours.encode(text) == theirs.encode(text, add_special_tokens=False).ids


@pytest.mark.slow
def test_every_character_is_cut_off_its_neighbours_alike(trained):
    ours, theirs = trained
    # fewer of the long blocks: of Chinese, Korean and what no one has assigned
    codes = [*range(0, 0x3100, 3), *range(0x3100, sys.maxunicode + 1, 61)]
    characters = [chr(code) for code in codes if not 0xD800 <= code < 0xE000]
    texts = [f"ab{c}cd 1{c}2 {c}{c} {c}\n{c}'{c}x  {c}" for c in characters]
    found = theirs.encode_batch_fast(texts, add_special_tokens=False)
    differ = [text for text, ids, other in zip(texts, ours.encode_many(texts), found) if ids != other.ids]
    assert not differ, differ[:10]


@pytest.mark.parametrize("run", [" ", "\n", "\u3000", " \n", "a", "ab", "中", "1", "!", "\r\n", "a'"])
def test_long_runs_take_no_other_way(trained, run):
    ours, theirs = trained
    text = (run * 30_000)[:30_000]
    assert ours.encode(text) == theirs.encode(text, add_special_tokens=False).ids


def vocabulary(trained):
    model = json.loads(trained[1].to_str())["model"]
    merges = [tuple(merge if isinstance(merge, list) else merge.split(" ")) for merge in model["merges"]]
    return {token: at for token, at in model["vocab"].items() if token not in SPECIAL_IDS}, merges


def test_a_vocabulary_that_tiktoken_would_merge_otherwise_is_noticed(trained):
    ids, merges = vocabulary(trained)
    assert merges_agree(ids, merges)
    swapped = [merges[1], merges[0], *merges[2:]]
    assert not merges_agree(ids, swapped)
    # "xyz" by the list is xy + z, and yz comes first: the list never merges x + yz, tiktoken would
    others = {"x": 0, "y": 1, "z": 2, "yz": 3, "xy": 4, "xyz": 5}
    assert not merges_agree(others, [("y", "z"), ("x", "y"), ("xy", "z")])
    assert merges_agree(others, [("y", "z"), ("x", "y"), ("x", "yz")])
    assert not merges_agree(others, [("y", "z"), ("x", "y")])
