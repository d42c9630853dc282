"""What a file may make a reader do: expand, hold records without end, stand in a circle, cost the square of its size."""

from __future__ import annotations

import gzip
import os
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.core.errors import DataError
from headwater.corpus.document import Document, Drop
from headwater.corpus.read.limits import MAX_DROPS_LISTED, bounded
from headwater.corpus.read.processes import pack, unpack
from headwater.corpus.read.source import read_source
from headwater.corpus.read.walk import find_files
from headwater.corpus.sources.formats import FREE_EXPANSION_BYTES
from headwater.corpus.sources.settings import CorpusSettings

# ---- how much may come out


def read(folder, **limits):
    settings = CorpusSettings.model_validate({"sources": {"mine": {"paths": [str(folder)]}}, **limits})
    return list(read_source("mine", settings))


def test_dull_but_honest_text_is_read_through_its_compression(tmp_path):
    log = b"".join(b"2026-11-25 12:%02d:%02d GET /index.html 200\n" % divmod(n % 3600, 60) for n in range(400_000))
    (tmp_path / "log.txt.gz").write_bytes(gzip.compress(log))
    ratio = len(log) / (tmp_path / "log.txt.gz").stat().st_size
    assert ratio > 10 and len(log) > FREE_EXPANSION_BYTES
    pieces = read(tmp_path)
    assert "".join(piece.text for piece in pieces) == log.decode()


# ---- how many, how long


def drops(reason: str, count: int) -> list[Drop]:
    return [Drop(reason, "mine", f"a#{number}", "a", number) for number in range(count)]


def totals(pieces) -> Counter:
    found = Counter()
    for piece in pieces:
        found[piece.reason, "documents"] += piece.num_documents
        found[piece.reason, "bytes"] += piece.num_bytes
    return found


def test_drops_without_end_become_one_and_the_account_stays_exact():
    many = [*drops("a", 3000), *drops("b", 10), *drops("c", MAX_DROPS_LISTED + 1)]
    once = list(bounded(many, 2000))
    assert totals(once) == totals(many)
    assert Counter(piece.reason for piece in once) == {"a": MAX_DROPS_LISTED + 1, "b": 10, "c": MAX_DROPS_LISTED + 1}
    assert len({piece.id for piece in once[-2:]}) == 2
    assert list(bounded(once, 2000)) == once


@given(st.lists(st.text(max_size=50).map(lambda text: text * 90), max_size=5))
def test_long_documents_are_cut_and_nothing_is_lost(texts):
    documents = [Document(text, "mine", str(number), "a", "text") for number, text in enumerate(texts)]
    pieces = list(bounded(documents, 2000))
    assert "".join(piece.text for piece in pieces) == "".join(texts)
    assert all(len(piece.text) <= 2000 for piece in pieces)
    assert list(bounded(pieces, 2000)) == pieces


# ---- names


def test_a_pattern_over_circles_of_links_ends(tmp_path):
    names = ["a.txt", "sub/b.txt", "sub/deeper/c.txt"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    for number in range(12):  # 12^40 ways, for what follows them
        (tmp_path / f"loop{number}").symlink_to(tmp_path)
        (tmp_path / "sub" / f"loop{number}").symlink_to(tmp_path)
    assert [os.path.relpath(origin, tmp_path) for _, origin in find_files([f"{tmp_path}/**/*.txt"], "mine")] == names


@pytest.mark.parametrize("path", ["~no-such-user/x", "a\0b", "a\0*", "**/\0"])
def test_a_path_that_cannot_be_one_is_an_error_for_the_user(path):
    with pytest.raises(DataError, match=r"^mine: "):
        list(find_files([path], "mine"))


# ---- the square of the size


# ---- messages


@given(
    st.dictionaries(st.text(), st.one_of(st.integers(), st.text(), st.none(), st.text().map(lambda t: t + "\ud800")))
)
def test_a_message_comes_back(value):
    data = pack(value)
    assert data.endswith(b"\n") and data.count(b"\n") == 1
    assert unpack(data) == value
