"""Parts of one whole fall on one side of the split: pieces of a book, chapters, files of a repository."""

from __future__ import annotations

import json
import zipfile

import pytest

from headwater.corpus.document import Document
from headwater.corpus.read.source import read_source
from headwater.corpus.sources.settings import CorpusSettings


def groups(*paths, kind: str = "code") -> dict[str, str]:
    """Return the group of each document, by the end of its id."""
    settings = CorpusSettings.model_validate({"sources": {"mine": {"kind": kind, "paths": [str(p) for p in paths]}}})
    found = [piece for piece in read_source("mine", settings) if isinstance(piece, Document)]
    return {piece.id.rpartition("/")[2]: piece.meta.get("group", "") for piece in found}


@pytest.fixture
def code(tmp_path):
    """Make two repositories, a file beside them, and an archive."""
    for name in ("one", "two"):
        (tmp_path / "code" / name / ".git").mkdir(parents=True)
        (tmp_path / "code" / name / "src").mkdir()
        (tmp_path / "code" / name / "src" / f"{name}.py").write_text(f"{name} = 1\n" * 9)
        (tmp_path / "code" / name / f"top_{name}.py").write_text(f"top_{name} = 1\n" * 9)
    (tmp_path / "code" / "alone.py").write_text("alone = 1\n" * 9)
    with zipfile.ZipFile(tmp_path / "code" / "lib.whl", "w") as archive:
        archive.writestr("lib.py", "lib = 1\n" * 9)
        archive.writestr("other.py", "other = 1\n" * 9)
    return tmp_path / "code"


def test_files_of_a_repository_or_an_archive_are_of_one_group(code):
    found = groups(code)
    assert found == {
        **dict.fromkeys(["one.py", "top_one.py"], str(code / "one")),
        **dict.fromkeys(["two.py", "top_two.py"], str(code / "two")),
        **dict.fromkeys(["lib.whl#lib.py", "lib.whl#other.py"], str(code / "lib.whl")),
        "alone.py": "",
    }


def test_files_that_a_pattern_finds_are_of_the_repositories_below_its_folder(code):
    found = groups(code / "**" / "*.py")
    assert {found["one.py"], found["top_one.py"]} == {str(code / "one")}
    assert found["alone.py"] == ""


def test_a_repository_or_an_archive_that_the_settings_name_has_files_that_stay_apart(code):
    assert set(groups(code / "one", code / "lib.whl").values()) == {""}


def test_prose_in_a_repository_stays_apart(code):
    (code / "one" / "read.md").write_text("Words about one.")
    assert groups(code)["read.md"] == ""


@pytest.mark.parametrize("name", ["long.txt", "long.jsonl"])
def test_pieces_of_a_long_text_are_of_one_group(make_prose, tmp_path, name):
    text = "\n\n".join(make_prose(120, number) for number in range(30))
    (tmp_path / name).write_text(text if name.endswith("txt") else json.dumps({"text": text}))
    limits = {"max_document_characters": 2000, "sources": {"mine": {"paths": [str(tmp_path)]}}}
    pieces = list(read_source("mine", CorpusSettings.model_validate(limits)))
    assert len(pieces) > 9
    assert len({piece.meta["group"] for piece in pieces}) == 1
