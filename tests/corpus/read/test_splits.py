"""Splits of data sets: what a model is to be tested with isn't trained on, unless the settings say so."""

from __future__ import annotations

import json

import pytest

from headwater.core.errors import DataError
from headwater.corpus.document import Drop
from headwater.corpus.read.files import is_held_out
from headwater.corpus.read.source import read_files, read_source
from headwater.corpus.read.walk import ListedFile
from headwater.corpus.sources.settings import CorpusSettings

FILES = [
    "set/dataset_dict.json", "set/train/a.jsonl", "set/test/a.jsonl", "set/validation_matched/a.jsonl", "set/more/b/a.jsonl",
    "hub/train-00000-of-00001.jsonl", "hub/test-00000-of-00001.jsonl", "hub/c4-validation.00000-of-00001.jsonl",
    "hub/data-00000-of-00001.jsonl", "plain/test/a.jsonl", "plain/test.jsonl",
    "two/test/test-00000-of-00001.jsonl", "two/train/train-00000-of-00001.jsonl",
]  # fmt: skip


@pytest.fixture
def pieces(tmp_path, monkeypatch):
    """Return a function: the texts that paths give, each the name of its file, and the drops of those excluded."""
    for name in FILES:
        path = tmp_path / "test" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"text": name}) if name.endswith("l") else '{"splits": []}')
    monkeypatch.chdir(tmp_path / "test")

    def read(*paths, **source):
        settings = CorpusSettings.model_validate({"sources": {"mine": {"paths": list(paths), **source}}})
        found = list(read_source("mine", settings))
        drops = [each for each in found if isinstance(each, Drop) and each.reason != "no_text"]
        return [each.text for each in found if not isinstance(each, Drop)], drops

    return read


@pytest.mark.parametrize(
    ("paths", "splits", "read", "num_excluded"),
    [
        (["set"], None, "set/more/b/a set/train/a", 2),
        (["hub"], None, "hub/data-00000-of-00001 hub/train-00000-of-00001", 2),
        (["plain"], None, "plain/test.jsonl plain/test/a.jsonl", 0),
        (["set"], ["test", "more"], "set/more/b/a set/test/a", 2),
        (["set/train", "hub/train*"], ["train"], "set/train/a hub/train-00000-of-00001", 0),
        # a path that names a split has chosen it
        (["set/test"], None, "set/test/a", 0),
        (["set/test/a.jsonl"], None, "set/test/a", 0),
        (["*/test/*.jsonl"], None, "plain/test/a set/test/a two/test/test-00000-of-00001", 0),
        (["hub/test-*.jsonl"], None, "hub/test-00000-of-00001", 0),
        (["hub/test-00000-of-00001.jsonl"], None, "hub/test-00000-of-00001", 0),
        (["two/test"], None, "two/test/test-00000-of-00001", 0),
    ],
)
def test_test_and_validation_are_skipped_unless_a_path_or_the_settings_name_them(
    pieces, paths, splits, read, num_excluded
):
    texts, drops = pieces(*paths, **({"splits": splits} if splits else {}))
    assert texts == [f"{name.removesuffix('.jsonl')}.jsonl" for name in read.split()]
    assert [drop.reason for drop in drops] == ["split_excluded"] * num_excluded


def test_a_file_that_is_excluded_counts_and_says_which_setting_reads_it(pieces):
    drop, _ = pieces("set")[1]
    assert drop.origin == "set/test/a.jsonl" and drop.num_bytes > 10
    assert "split test" in drop.because and "corpus.sources.mine.splits" in drop.because


@pytest.mark.parametrize(
    ("splits", "is_for_testing"),
    [
        ("test validation valid dev eval test_sft Test validation-1", True),
        ("train train_sft testament developer unsupervised latest", False),
    ],
)
def test_splits_for_testing_are_known_by_their_names(splits, is_for_testing):
    assert {split: is_held_out(split) for split in splits.split()} == dict.fromkeys(splits.split(), is_for_testing)


@pytest.mark.parametrize("origin", [{"builtin": "almanac"}, {"fetched": ["deb:doc-rfc"]}])
def test_splits_of_what_has_none_are_refused(origin):
    with pytest.raises(ValueError, match="splits has no effect"):
        CorpusSettings.model_validate({"sources": {"mine": {**origin, "splits": ["train"]}}})


@pytest.mark.parametrize(
    ("paths", "splits", "has"),
    [
        (["hub"], ["trian"], "test, train, validation"),
        (["set"], ["train", "tset"], "more, test, train, validation_matched"),
        (["plain"], ["train"], "none"),
    ],
)
def test_a_split_that_no_file_is_of_is_refused(pieces, paths, splits, has):
    with pytest.raises(DataError, match=f"'{splits[-1]}'.* has {has}"):
        pieces(*paths, splits=splits)


def test_reading_a_part_of_the_files_misses_no_split(tmp_path):
    path = tmp_path / "test-00000-of-00001.jsonl"
    path.write_text('{"text": "words"}')
    settings = CorpusSettings.model_validate({"sources": {"mine": {"paths": [str(tmp_path)], "splits": ["train"]}}})
    assert [piece.reason for piece in read_files([ListedFile(path, str(path))], "mine", settings)] == ["split_excluded"]
