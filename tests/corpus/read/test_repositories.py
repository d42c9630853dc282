"""Parts of one whole fall on one side of the split: pieces of a book, chapters, files of a repository."""

from __future__ import annotations

import json

import pytest
from made_files import zipped

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
    (tmp_path / "code").mkdir()
    for name in ("one", "two"):
        (tmp_path / "code" / name / ".git").mkdir(parents=True)
        (tmp_path / "code" / name / "src").mkdir()
    for name in ("one/src/one.py", "one/top_one.py", "two/src/two.py", "two/top_two.py", "alone.py", "one/read.md"):
        (tmp_path / "code" / name).write_text("words = 1\n" * 9)
    (tmp_path / "code" / "lib.whl").write_bytes(zipped(dict.fromkeys(["lib.py", "other.py"], "lib = 1\n" * 9)))
    return tmp_path / "code"


ALL = {"one.py": "one", "top_one.py": "one", "two.py": "two", "top_two.py": "two", "alone.py": "", "read.md": ""}
LIBRARY = dict.fromkeys(["lib.whl#lib.py", "lib.whl#other.py"], "lib.whl")


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ([""], ALL | LIBRARY),
        (["**/*.py"], {name: group for name, group in ALL.items() if name != "read.md"}),
        (["one", "lib.whl"], dict.fromkeys(["one.py", "top_one.py", "read.md", *LIBRARY], "")),
    ],
    ids=["below a folder", "by a pattern", "none of those that the settings name themselves"],
)
def test_code_of_a_repository_or_an_archive_is_of_one_group_and_prose_is_not(code, paths, expected):
    found = groups(*(code / path for path in paths))
    assert found == {name: str(code / group) if group else "" for name, group in expected.items()}


@pytest.mark.parametrize("name", ["long.txt", "long.jsonl"])
def test_pieces_of_a_long_text_are_of_one_group(make_prose, tmp_path, name):
    text = "\n\n".join(make_prose(120, number) for number in range(30))
    (tmp_path / name).write_text(text if name.endswith("txt") else json.dumps({"text": text}))
    limits = {"max_document_characters": 2000, "sources": {"mine": {"paths": [str(tmp_path)]}}}
    pieces = list(read_source("mine", CorpusSettings.model_validate(limits)))
    assert len(pieces) > 9
    assert len({piece.meta["group"] for piece in pieces}) == 1
