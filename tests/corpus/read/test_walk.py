from __future__ import annotations

import glob
import json
import os

import pytest

from headwater.core.errors import DataError
from headwater.corpus.document import Drop
from headwater.corpus.inputs import corpus_inputs
from headwater.corpus.read.source import read_source
from headwater.corpus.read.walk import _matches, find_files, list_files, printable
from headwater.corpus.sources.settings import CorpusSettings


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


def skipped(tree, *paths):
    listed = list_files([str(path) for path in paths], "corpus.sources.mine.paths")
    return {os.path.relpath(each.origin, tree): each.skipped for each in listed if each.skipped}


def reasons(tree):
    settings = CorpusSettings.model_validate({"sources": {"mine": {"paths": [str(tree)]}}})
    drops = [piece for piece in read_source("mine", settings) if isinstance(piece, Drop)]
    return {os.path.relpath(drop.id, tree): drop.reason for drop in drops}


def test_folders_are_read_in_sorted_order_without_hidden_names(tree):
    assert names(tree, tree) == ["a.txt", "b.txt", "sub/c.txt", "sub/deeper/d.txt"]


def test_patterns_files_and_folders_may_be_mixed_and_nothing_is_read_twice(tree):
    assert names(tree, tree / "sub", tree / "*.txt", tree) == ["sub/c.txt", "sub/deeper/d.txt", "a.txt", "b.txt"]


def test_a_pattern_may_cross_folders(tree):
    assert names(tree, tree / "**" / "*.txt") == ["a.txt", "b.txt", "sub/c.txt", "sub/deeper/d.txt"]


@pytest.mark.parametrize(
    "pattern",
    [
        "**", "**/*", "**/**", "**/*.md", "**/docs/**", "**/docs/**/*.md", "**/docs/*.md", "docs/**/*.md", "*/**/x/*.md",
        "**/**/d.md", "**/docs/**/y/**/*.md", "sub/**/docs/**/*.md", "**/[xy]/**", "**/x/**/d.*", "s*/**/*b.md",
    ],
)  # fmt: skip
def test_a_pattern_matches_what_pythons_glob_does(tmp_path, pattern):
    for name in ["docs/a", "docs/x/b", "sub/docs/y/d", "sub/docs/y/x/d", "sub/x/b", "d", ".h/docs/e"]:
        (tmp_path / f"{name}.md").parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{name}.md").write_text("words")
    expected = {os.path.relpath(name, tmp_path) for name in glob.glob(str(tmp_path / pattern), recursive=True)} - {"."}
    assert len(expected) > 0
    assert {os.path.relpath(name, tmp_path) for name in _matches(str(tmp_path / pattern))} - {"."} == expected


def test_of_a_folder_that_a_pattern_begins_with_and_that_may_not_be_read_it_is_said(tree, forbid):
    forbid(tree / "sub")
    assert names(tree, tree / "**" / "*.txt") == ["a.txt", "b.txt"]
    assert _matches(str(tree / "sub" / "**")) == [str(tree / "sub")]


def test_a_circle_of_links_ends(tree):
    (tree / "sub" / "loop").symlink_to(tree)
    (tree / "again.txt").symlink_to(tree / "a.txt")
    assert names(tree, tree) == ["a.txt", "b.txt", "sub/c.txt", "sub/deeper/d.txt"]
    assert skipped(tree / "sub", tree / "sub") == {"loop": "link_loop"}


def test_a_link_to_a_folder_is_followed(tree, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "e.txt").write_text("words")
    (tree / "linked").symlink_to(elsewhere)
    assert names(tree, tree) == ["a.txt", "b.txt", "sub/c.txt", "sub/deeper/d.txt", "linked/e.txt"]
    assert names(tree, tree / "**" / "e.txt") == ["linked/e.txt"]


def test_a_link_to_a_folder_above_the_tree_reads_nothing_outside_it(tree):
    (tree.parent / "outside.txt").write_text("words")
    (tree / "sub" / "up").symlink_to(tree.parent)
    assert names(tree, tree) == ["a.txt", "b.txt", "sub/c.txt", "sub/deeper/d.txt"]


def test_links_that_lead_to_each_other_end_and_every_file_is_read_once(tree):
    for name, other in (("one", "two"), ("two", "one")):
        (tree / name).mkdir()
        (tree / name / f"{name}.txt").write_text("words")
        (tree / name / "link").symlink_to(tree / other)
    assert [name for name in names(tree, tree) if "one" in name or "two" in name] == ["one/one.txt", "two/two.txt"]
    assert {name: reason for name, reason in skipped(tree, tree).items() if "link" in name} == {
        "one/link": "already_read",
        "two/link": "already_read",
    }


def test_every_name_is_read_or_skipped_with_a_reason(tree):
    (tree / "again.txt").symlink_to(tree / "b.txt")
    (tree / "linked").symlink_to(tree / "sub")
    (tree / "node_modules").mkdir()
    (tree / "node_modules" / "x.txt").write_text("words")
    assert names(tree, tree) == ["a.txt", "again.txt", "sub/c.txt", "sub/deeper/d.txt"]
    assert skipped(tree, tree) == {
        ".hidden": "hidden", ".git": "hidden", "__pycache__": "tool_folder", "node_modules": "tool_folder",
        "b.txt": "already_read", "linked": "already_read",
    }  # fmt: skip
    assert skipped(tree, tree, tree, tree / "a.txt") == skipped(tree, tree), "no name is counted twice"


def test_skipped_names_are_in_the_balance_and_not_in_the_key(tree):
    settings = CorpusSettings.model_validate({"sources": {"mine": {"paths": [str(tree)]}}})
    before = corpus_inputs(settings)
    assert reasons(tree) == {".hidden": "hidden", ".git": "hidden", "__pycache__": "tool_folder"}
    (tree / ".swap").write_text("an editor's")
    assert corpus_inputs(settings) == before
    (tree / "new.txt").write_text("words")
    assert corpus_inputs(settings) != before


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
    assert skipped(tree, tree)["runs/mine"] == "own_output"


def test_the_lock_of_fetched_texts_is_no_text(tree):
    for name in ("lock", "epoch"):
        (tree / name).write_text("{}")
    assert not {"lock", "epoch"} & set(names(tree, tree))
    assert skipped(tree, tree)["lock"] == "own_output"


def test_pipes_and_broken_links_are_drops_and_never_opened(tree):
    os.mkfifo(tree / "pipe.txt")
    (tree / "broken.txt").symlink_to(tree / "nowhere")
    (tree / "circle.txt").symlink_to(tree / "circle.txt")
    found = reasons(tree)
    assert [found[name] for name in ("pipe.txt", "broken.txt", "circle.txt")] == [
        "not_a_file",
        "broken_link",
        "broken_link",
    ]


def test_what_may_not_be_read_says_so(tree, forbid):
    forbid(tree / "sub")
    forbid(tree / "a.txt")
    settings = CorpusSettings.model_validate({"sources": {"mine": {"paths": [str(tree)]}}})
    pieces = list(read_source("mine", settings))
    assert {name: reason for name, reason in reasons(tree).items() if reason == "no_permission"} == {
        "sub": "no_permission",
        "a.txt": "no_permission",
    }
    assert [piece.text for piece in pieces if hasattr(piece, "text")] == ["words of b.txt"]


def test_a_folder_that_may_be_listed_and_not_entered_says_so(tree, forbid, monkeypatch):
    def refused(ask, *beginnings):
        def ask_or_refuse(path, *rest, **named):
            if str(path).startswith(beginnings):
                raise PermissionError(13, "Permission denied", str(path))
            return ask(path, *rest, **named)

        return ask_or_refuse

    forbid(tree / "sub" / "deeper")
    (tree / "link").symlink_to(tree / "sub" / "unlisted.txt")
    monkeypatch.setattr(os, "stat", refused(os.stat, f"{tree / 'sub'}/", str(tree / "link")))
    monkeypatch.setattr(os, "lstat", refused(os.lstat, f"{tree / 'sub'}/"))
    assert names(tree, tree) == ["a.txt", "b.txt", "link", "sub/c.txt", "sub/deeper"]
    refused = {name for name, reason in reasons(tree).items() if reason == "no_permission"}
    assert refused == {"link", "sub/c.txt", "sub/deeper"}
    assert names(tree, tree / "link") == ["link"]


def test_a_name_that_is_not_utf8_becomes_printable(tree):
    path = tree / os.fsdecode(b"caf\xe9.txt")
    path.write_text("words")
    assert printable(path).endswith("caf\\xe9.txt")
    assert "caf\\xe9.txt" in names(tree, tree)
