from __future__ import annotations

import pytest

from headwater.corpus.trace import trace
from headwater.errors import DataError


@pytest.fixture
def corpus(build, make_prose, tmp_path):
    files = {f"{number}.txt": make_prose(60, number) for number in range(40)}
    files["hit.txt"] = f"{make_prose(60, 90)} The sea\n  is   salt. {make_prose(60, 91)} The sea is salt."
    build(files)
    return tmp_path / "corpus"


def test_a_text_is_found_across_line_ends_and_counted(corpus):
    (hit,) = trace(corpus, "The sea is\nsalt.")
    assert hit["count"] == 2
    assert hit["source"] == "mine"
    assert hit["id"].endswith("hit.txt")
    assert "The sea is salt." in hit["excerpt"]


def test_every_document_of_both_splits_is_searched(corpus):
    from headwater.corpus.load import read_documents

    for split in ("train", "validation"):
        for document in read_documents(corpus, split, "mine"):
            hits = trace(corpus, document.text[:80])
            assert (split, document.id) in {(hit["split"], hit["id"]) for hit in hits}


@pytest.mark.parametrize("text", ["The sea is sweet.", "the sea is salt.", "sea issalt"])
def test_the_match_is_exact(corpus, text):
    assert trace(corpus, text) == []


def test_nothing_to_look_for_is_an_error(corpus):
    with pytest.raises(DataError, match="no text to look for"):
        trace(corpus, " \n ")
