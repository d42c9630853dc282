from __future__ import annotations

import json
import os

import pytest

from headwater.corpus.read.source import read_source
from headwater.corpus.read.walk import find_files, printable
from headwater.corpus.settings import CorpusSettings
from headwater.errors import DataError


@pytest.fixture
def tree(tmp_path):
    for name in ["b.txt", "a.txt", "sub/c.txt", "sub/deeper/d.txt", ".hidden", ".git/config", "__pycache__/x.pyc"]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"words of {name}")
    return tmp_path


def names(tree, *paths):
    return [
        os.path.relpath(origin, tree)
        for _, origin in find_files([str(path) for path in paths], "corpus.sources.mine.paths")
    ]


def test_folders_are_read_in_sorted_order_without_hidden_names(tree):
    assert names(tree, tree) == ["a.txt", "b.txt", "sub/c.txt", "sub/deeper/d.txt"]


def test_patterns_files_and_folders_may_be_mixed_and_nothing_is_read_twice(tree):
    assert names(tree, tree / "sub", tree / "*.txt", tree) == ["sub/c.txt", "sub/deeper/d.txt", "a.txt", "b.txt"]


def test_a_pattern_may_cross_folders(tree):
    assert names(tree, tree / "**" / "*.txt") == ["a.txt", "b.txt", "sub/c.txt", "sub/deeper/d.txt"]


def test_a_circle_of_links_ends(tree):
    (tree / "sub" / "loop").symlink_to(tree)
    (tree / "again.txt").symlink_to(tree / "a.txt")
    assert names(tree, tree) == ["a.txt", "b.txt", "sub/c.txt", "sub/deeper/d.txt"]


@pytest.mark.parametrize("path", ["nowhere", "*.nothing"])
def test_a_path_that_names_nothing_is_an_error_that_says_which(tree, path):
    with pytest.raises(DataError, match=r"^corpus\.sources\.mine\.paths: .*" + path.replace("*", r"\*")):
        names(tree, tree / path)


def test_a_run_beside_its_text_is_not_its_own_input(tree):
    run = tree / "runs" / "mine"
    run.mkdir(parents=True)
    (run / "report.html").write_text("<p>words</p>")
    (run / "config.json").write_text(json.dumps({"format": "headwater-config", "format_version": 1}, indent=1))
    assert "runs/mine/report.html" not in names(tree, tree)


def test_pipes_and_broken_links_are_drops_and_never_opened(tree):
    os.mkfifo(tree / "pipe.txt")
    (tree / "broken.txt").symlink_to(tree / "nowhere")
    settings = CorpusSettings.model_validate({"sources": {"mine": {"paths": [str(tree)]}}})
    reasons = {
        drop.id.rsplit("/")[-1]: drop.reason for drop in read_source("mine", settings) if hasattr(drop, "reason")
    }
    assert reasons == {"pipe.txt": "not_a_file", "broken.txt": "unreadable"}


def test_what_may_not_be_read_says_so(tree, forbid):
    forbid(tree / "sub")
    forbid(tree / "a.txt")
    settings = CorpusSettings.model_validate({"sources": {"mine": {"paths": [str(tree)]}}})
    pieces = list(read_source("mine", settings))
    reasons = {piece.id.rsplit("/")[-1]: piece.reason for piece in pieces if hasattr(piece, "reason")}
    assert reasons == {"sub": "no_permission", "a.txt": "no_permission"}
    assert [piece.text for piece in pieces if hasattr(piece, "text")] == ["words of b.txt"]


def test_a_name_that_is_not_utf8_becomes_printable(tree):
    path = tree / os.fsdecode(b"caf\xe9.txt")
    path.write_text("words")
    assert printable(path).endswith("caf\\xe9.txt")
    assert "caf\\xe9.txt" in names(tree, tree)
