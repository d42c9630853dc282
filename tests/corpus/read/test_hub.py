"""Data sets of the hub, by a stand-in for its library: nothing here is online."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest

from headwater.corpus.document import Drop
from headwater.corpus.inputs import corpus_inputs
from headwater.corpus.read.source import read_source
from headwater.errors import ConfigError, DataError
from headwater.sources.settings import CorpusSettings

ROWS = {"train": [{"text": "one", "url": "http://a"}, {"text": None}], "test": [{"text": "two"}]}


def settings(spelling: str, **more) -> CorpusSettings:
    return CorpusSettings.model_validate({"sources": {"mine": {"hf": spelling, **more}}})


@pytest.mark.parametrize("spelling", ["wikitext", "owner/", "a/b/c", "", "owner/name:"])
def test_what_is_no_name_of_a_data_set_is_refused_in_words(spelling):
    with pytest.raises(ValueError, match="owner/name") as raised:
        settings(spelling)
    assert "\\w" not in str(raised.value), "no regular expression"


@pytest.fixture
def hub(monkeypatch):
    """Put modules in place of the libraries; return what they were asked for."""
    asked = []
    datasets, api = ModuleType("datasets"), ModuleType("huggingface_hub")

    def load_dataset(name, config, revision, streaming):
        asked.append((name, config, revision, streaming))
        return ROWS

    datasets.load_dataset = load_dataset
    api.HfApi = lambda: SimpleNamespace(dataset_info=lambda name, revision: SimpleNamespace(sha=f"sha of {revision}"))
    monkeypatch.setitem(sys.modules, "datasets", datasets)
    monkeypatch.setitem(sys.modules, "huggingface_hub", api)
    return asked


def test_rows_of_the_splits_that_are_read_are_documents_or_drops(hub):
    pieces = list(read_source("mine", settings("owner/name:config@main")))
    assert [(each.id, each.reason if isinstance(each, Drop) else each.text) for each in pieces] == [
        ("hf://datasets/owner/name/test", "split_left_out"),
        ("hf://datasets/owner/name/train#0", "one"),
        ("hf://datasets/owner/name/train#1", "no_text"),
    ]
    assert hub == [("owner/name", "config", "main", True)]
    assert pieces[1].meta == {"url": "http://a"}


def test_the_splits_that_the_settings_name_are_read(hub):
    pieces = list(read_source("mine", settings("owner/name", splits=["test"])))
    assert [(each.id, each.reason if isinstance(each, Drop) else each.text) for each in pieces] == [
        ("hf://datasets/owner/name/test#0", "two"),
        ("hf://datasets/owner/name/train", "split_left_out"),
    ]


def test_a_split_that_the_data_set_has_not_is_an_error(hub):
    with pytest.raises(DataError, match=r"corpus.sources.mine.splits: there is no split 'trian'; .*has test, train"):
        list(read_source("mine", settings("owner/name", splits=["trian"])))


def test_the_text_is_in_the_column_that_the_settings_name(hub):
    pieces = list(read_source("mine", settings("owner/name", text_column="url")))
    assert [piece.text for piece in pieces if not isinstance(piece, Drop)] == ["http://a"]


def test_the_revision_is_the_input(hub):
    assert corpus_inputs(settings("owner/name@v1"))["mine"] == "owner/name  sha of v1"


def test_without_the_library_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"pip install headwater\[hub\]"):
        list(read_source("mine", settings("owner/name")))


def test_a_hub_that_does_not_answer_is_an_error(hub, monkeypatch):
    def load_dataset(*arguments, **more):
        raise ConnectionError("no route")

    monkeypatch.setattr(sys.modules["datasets"], "load_dataset", load_dataset)
    with pytest.raises(DataError, match="ConnectionError: no route"):
        list(read_source("mine", settings("owner/name")))


@pytest.mark.parametrize("spelling", ["name", "owner/name/more", "owner/na me", "owner/name:a/b"])
def test_what_is_no_name_is_refused(spelling):
    with pytest.raises((ConfigError, ValueError), match="hf"):
        settings(spelling)
