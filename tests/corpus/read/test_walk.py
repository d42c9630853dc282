"""Which files the paths of a source name, in which order, and what is said of the names that are skipped."""

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

FILES = ["a.txt", "b.txt", "sub/c.txt", "sub/deeper/d.txt"]
SKIPPED = {".hidden": "hidden", ".git": "hidden", "__pycache__": "tool_folder"}


def write(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"words of {name}")


@pytest.fixture
def tree(tmp_path):
    write(tmp_path / "tree", *reversed(FILES), ".hidden", ".git/config", "__pycache__/x.pyc")
    return tmp_path / "tree"


def names(tree, *paths):
    listed = find_files([str(tree / path) for path in paths], "corpus.sources.mine.paths")
    return [os.path.relpath(origin, tree) for _, origin in listed]


def skipped(tree, *paths):
    listed = list_files([str(tree / path) for path in paths], "corpus.sources.mine.paths")
    return {os.path.relpath(each.origin, tree): each.skipped for each in listed if each.skipped}


def reasons(tree):
    pieces = read_source("mine", CorpusSettings.model_validate({"sources": {"mine": {"paths": [str(tree)]}}}))
    return {os.path.relpath(piece.id, tree): piece.reason for piece in pieces if isinstance(piece, Drop)}


@pytest.mark.parametrize(
    ("paths", "found"),
    [
        ([""], FILES),
        (["sub", "*.txt", ""], [*FILES[2:], *FILES[:2]]),
        (["**/*.txt"], FILES),
        (["b.txt", "", "a.txt"], ["b.txt", "a.txt", *FILES[2:]]),
        (["**/deeper"], FILES[3:]),
        (["s*/**/[cd].*"], FILES[2:]),
    ],
    ids=["a folder", "patterns and folders", "over folders", "a file first", "a folder that is found", "of letters"],
)
def test_files_are_read_once_in_the_order_of_the_paths_without_hidden_names(tree, paths, found):
    assert names(tree, *paths) == found
    assert skipped(tree, "", *paths) == SKIPPED, "no name is counted twice"


# links, to names of the tree or to "/elsewhere"; what is read with them, and what is skipped
LINKS = {
    "a circle ends": (
        {"sub/loop": "", "again.txt": "a.txt"},
        FILES,
        {"sub/loop": "link_loop", "again.txt": "already_read"},
    ),
    "a folder elsewhere is followed": ({"linked": "/elsewhere"}, [*FILES, "linked/e.txt"], {}),
    "a folder above reads nothing outside": ({"sub/up": ".."}, FILES, {"sub/up": "link_loop"}),
    "a folder of the tree is read there": ({"linked": "sub"}, FILES, {"linked": "already_read"}),
    "the first of two names is read": ({"aa.txt": "b.txt"}, ["a.txt", "aa.txt", *FILES[2:]], {"b.txt": "already_read"}),
    "a broken link and a circle of one are for the reader": (
        {"broken.txt": "nowhere", "circle.txt": "circle.txt"},
        ["a.txt", "b.txt", "broken.txt", "circle.txt", *FILES[2:]],
        {},
    ),
}


@pytest.mark.parametrize("claim", LINKS)
def test_links_are_followed_and_no_file_is_read_twice(tree, claim):
    links, found, more = LINKS[claim]
    write(tree.parent / "elsewhere", "e.txt")
    write(tree.parent, "outside.txt")
    for name, target in links.items():
        (tree / name).symlink_to(tree.parent / "elsewhere" if target == "/elsewhere" else tree / target)
    assert names(tree, "") == found
    assert skipped(tree, "") == SKIPPED | more
    if "linked/e.txt" in found:
        assert names(tree, "**/e.txt") == ["linked/e.txt"]


@pytest.mark.parametrize(
    "pattern",
    [
        "**", "**/*", "**/**", "**/*.md", "**/docs/**", "**/docs/**/*.md", "**/docs/*.md", "docs/**/*.md", "*/**/x/*.md",
        "**/**/d.md", "**/docs/**/y/**/*.md", "sub/**/docs/**/*.md", "**/[xy]/**", "**/x/**/d.*", "s*/**/*b.md",
    ],
)  # fmt: skip
def test_a_pattern_matches_what_pythons_glob_does(tmp_path, pattern):
    write(
        tmp_path, *(f"{name}.md" for name in ["docs/a", "docs/x/b", "sub/docs/y/d", "sub/docs/y/x/d", "sub/x/b", "d"])
    )
    write(tmp_path, ".h/docs/e.md")
    expected = {os.path.relpath(name, tmp_path) for name in glob.glob(str(tmp_path / pattern), recursive=True)} - {"."}
    assert len(expected) > 0
    assert {os.path.relpath(name, tmp_path) for name in _matches(str(tmp_path / pattern))} - {"."} == expected


def test_of_a_folder_that_a_pattern_begins_with_and_that_may_not_be_read_it_is_said(tree, forbid):
    forbid(tree / "sub")
    assert names(tree, "**/*.txt") == ["a.txt", "b.txt"]
    assert _matches(str(tree / "sub" / "**")) == [str(tree / "sub")]


def test_skipped_names_are_in_the_balance_and_not_in_the_key(tree):
    settings = CorpusSettings.model_validate({"sources": {"mine": {"paths": [str(tree)]}}})
    before = corpus_inputs(settings)
    assert reasons(tree) == SKIPPED
    (tree / ".swap").write_text("an editor's")
    assert corpus_inputs(settings) == before
    (tree / "new.txt").write_text("words")
    assert corpus_inputs(settings) != before


@pytest.mark.parametrize("path", ["nowhere", "*.nothing"])
def test_a_path_that_names_nothing_is_an_error_that_says_which(tree, path):
    with pytest.raises(DataError, match=r"^corpus\.sources\.mine\.paths: .*" + path.replace("*", r"\*")):
        names(tree, path)


def test_a_run_beside_its_text_is_not_its_input(tree):
    write(tree, "runs/mine/report.html", "node_modules/x.txt")
    config = json.dumps({"format": "headwater-config", "format_version": 1}, indent=1)
    (tree / "runs" / "mine" / "config.json").write_text(config)
    assert names(tree, "") == FILES
    assert skipped(tree, "") == SKIPPED | {"runs/mine": "own_output", "node_modules": "tool_folder"}


def test_what_may_not_be_read_says_so(tree, forbid):
    forbid(tree / "sub")
    forbid(tree / "a.txt")
    settings = CorpusSettings.model_validate({"sources": {"mine": {"paths": [str(tree)]}}})
    assert reasons(tree) == SKIPPED | dict.fromkeys(["sub", "a.txt"], "no_permission")
    assert [piece.text for piece in read_source("mine", settings) if hasattr(piece, "text")] == ["words of b.txt"]


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
    assert names(tree, "") == ["a.txt", "b.txt", "link", "sub/c.txt", "sub/deeper"]
    assert {name for name, reason in reasons(tree).items() if reason == "no_permission"} == {
        "link",
        "sub/c.txt",
        "sub/deeper",
    }
    assert names(tree, "link") == ["link"]


def test_a_name_that_is_not_utf8_becomes_printable(tree):
    path = tree / os.fsdecode(b"caf\xe9.txt")
    path.write_text("words")
    assert printable(path).endswith("caf\\xe9.txt")
    assert "caf\\xe9.txt" in names(tree, "")
