from __future__ import annotations

import pytest

from headwater.core.errors import DataError
from headwater.corpus.load import find_documents, read_documents, trace


@pytest.fixture
def corpus(build, make_prose, tmp_path):
    files = {f"{number}.txt": make_prose(60, number) for number in range(40)}
    files["hit.txt"] = f"{make_prose(60, 90)} The sea\n  is   salt. {make_prose(60, 91)} The sea is salt."
    build(files)
    return tmp_path / "corpus"


def test_a_text_is_found_across_line_ends_and_counted(corpus):
    (hit,) = trace(corpus, "The sea is\nsalt.")
    assert hit.count == 2
    assert hit.source == "mine"
    assert hit.id.endswith("hit.txt")
    assert "The sea is salt." in hit.excerpt


def test_every_document_of_both_splits_is_searched(corpus):
    for split in ("train", "validation"):
        for document in read_documents(corpus, split, "mine"):
            hits = trace(corpus, document.text[:80])
            assert (split, document.id) in {(hit.split, hit.id) for hit in hits}


@pytest.mark.parametrize(
    ("text", "count"), [("the SEA is\tsalt.", 2), ("The sea is salt.", 2), ("the sea is sweet.", 0)]
)
def test_letters_of_any_case_are_found_where_case_is_ignored(corpus, text, count):
    assert sum(hit.count for hit in trace(corpus, text, ignore_case=True)) == count


def test_nothing_to_find_is_an_error(corpus):
    with pytest.raises(DataError, match="no text to find"):
        next(trace(corpus, " \n "))


def test_documents_are_found_by_their_ids(corpus):
    documents = list(read_documents(corpus, "train", "mine"))
    chosen = {document.id: document for document in documents[::7]}
    assert find_documents(corpus, "train", "mine", chosen) == chosen
    assert find_documents(corpus, "train", "mine", ["no such id"]) == {}
