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
    for name in FILES:
        path = tmp_path / "test" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"text": name}) if name.endswith("l") else '{"splits": []}')
    monkeypatch.chdir(tmp_path / "test")

    def read(*paths, **source):
        settings = CorpusSettings.model_validate({"sources": {"mine": {"paths": list(paths), **source}}})
        found = list(read_source("mine", settings))
        drops = [each for each in found if isinstance(each, Drop) and each.reason != "no_text"]
        return {each.text for each in found if not isinstance(each, Drop)}, drops

    return read


def test_test_and_validation_are_skipped_and_reported(pieces):
    texts, drops = pieces("set")
    assert texts == {"set/train/a.jsonl", "set/more/b/a.jsonl"}
    assert [(drop.reason, drop.origin, drop.because) for drop in drops] == [
        ("split_excluded", f"set/{split}/a.jsonl", f"split {split}; corpus.sources.mine.splits names those to read")
        for split in ("test", "validation_matched")
    ]
    assert all(drop.num_bytes > 10 for drop in drops)


def test_files_of_the_hub_are_distinguished_by_their_names(pieces):
    texts, drops = pieces("hub")
    assert texts == {"hub/train-00000-of-00001.jsonl", "hub/data-00000-of-00001.jsonl"}
    assert len(drops) == 2


def test_other_files_are_read_whatever_they_are_called(pieces):
    texts, drops = pieces("plain")
    assert (texts, drops) == ({"plain/test/a.jsonl", "plain/test.jsonl"}, [])


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("set/test", "set/test/a.jsonl"),
        ("set/test/a.jsonl", "set/test/a.jsonl"),
        ("*/test/*.jsonl", "set/test/a.jsonl"),
        ("hub/test-*.jsonl", "hub/test-00000-of-00001.jsonl"),
        ("hub/test-00000-of-00001.jsonl", "hub/test-00000-of-00001.jsonl"),
        ("two/test", "two/test/test-00000-of-00001.jsonl"),
    ],
)
def test_a_path_that_names_a_split_has_chosen_it(pieces, path, text):
    assert text in pieces(path)[0]


def test_a_folder_above_of_that_name_is_no_choice(pieces, tmp_path):
    assert len(pieces(str(tmp_path / "test" / "set"))[0]) == 2
    assert len(pieces(str(tmp_path / "test" / "se*"))[0]) == 2


def test_the_settings_name_splits_to_read(pieces):
    texts, drops = pieces("set", splits=["test", "more"])
    assert texts == {"set/test/a.jsonl", "set/more/b/a.jsonl"}
    assert len(drops) == 2


@pytest.mark.parametrize("split", ["test", "validation", "valid", "dev", "eval", "test_sft", "Test", "validation-1"])
def test_splits_for_testing(split):
    assert is_held_out(split)


@pytest.mark.parametrize("split", ["train", "train_sft", "testament", "developer", "unsupervised", "latest"])
def test_splits_for_training(split):
    assert not is_held_out(split)


@pytest.mark.parametrize("origin", [{"builtin": "almanac"}, {"fetched": ["deb:doc-rfc"]}])
def test_splits_of_what_has_none_are_refused(origin):
    with pytest.raises(ValueError, match="splits has no effect"):
        CorpusSettings.model_validate({"sources": {"mine": {**origin, "splits": ["train"]}}})


@pytest.mark.parametrize(
    ("paths", "splits", "has"),
    [
        (["hub"], ["trian"], "the data set has test, train, validation"),
        (["set"], ["train", "tset"], "the data set has more, test, train, validation_matched"),
        (["plain"], ["train"], "the data set has none, so remove splits"),
    ],
)
def test_a_split_that_no_file_is_of_is_refused(pieces, paths, splits, has):
    with pytest.raises(DataError, match=f"there is no split '{splits[-1]}'; {has}"):
        pieces(*paths, splits=splits)


def test_a_split_that_a_path_names_is_not_missed(pieces):
    assert pieces("set/train", "hub/train*", splits=["train"])[0] == {
        "set/train/a.jsonl",
        "hub/train-00000-of-00001.jsonl",
    }


def test_reading_a_part_of_the_files_misses_no_split(tmp_path):
    path = tmp_path / "test-00000-of-00001.jsonl"
    path.write_text('{"text": "words"}')
    settings = CorpusSettings.model_validate({"sources": {"mine": {"paths": [str(tmp_path)], "splits": ["train"]}}})
    assert [piece.reason for piece in read_files([ListedFile(path, str(path))], "mine", settings)] == ["split_excluded"]
