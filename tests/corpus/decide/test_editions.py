"""One text in several documents: what is held out of it stands in no document that is trained on."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from headwater.corpus.build import build_corpus
from headwater.corpus.load import read_documents
from headwater.corpus.sources.settings import CorpusSettings


def text(num_characters, seed, vocabulary=3000):
    """Return paragraphs of drawn words, of a drawn length; two seeds share no paragraph."""
    chance = random.Random(seed)
    words = ["".join(chance.choices("aeioubdlmnrst", k=chance.randrange(2, 10))) for _ in range(vocabulary)]
    weights = [1 / (rank + 10) for rank in range(vocabulary)]
    paragraphs, length = [], 0
    while length < num_characters:
        paragraphs.append(" ".join(chance.choices(words, weights, k=chance.randrange(30, 160))).capitalize() + ".")
        length += len(paragraphs[-1]) + 2
    return "\n\n".join(paragraphs)[:num_characters]


def held_out_and_known(folder, files, say=lambda line: None, **table):
    """Build a corpus of files; return how many paragraphs are held out, how many of them stand in the training text,
    and the bytes that were kept."""
    source = folder / "in"
    source.mkdir()
    for name, content in files.items():
        (source / f"{name}.txt").write_text(content)
    table = {"sources": {"mine": {"paths": [str(source)]}}, "engine": {"workers": 1}, **table}
    # what language made-up words are taken for is chance
    table["rules"] = {"text": {"min_mean_word_length": None, "max_mean_word_length": None}}
    manifest = build_corpus(CorpusSettings.model_validate(table), folder / "corpus", say)
    found = {
        split: {
            paragraph
            for document in read_documents(folder / "corpus", split, "mine")
            for paragraph in document.text.split("\n\n")
            if len(paragraph) >= 100
        }
        for split in ("train", "validation")
    }
    kept = manifest["sources"]["mine"]["kept"]["bytes"]
    return len(found["validation"]), len(found["validation"] & found["train"]), kept


def editions(books, prefaces, seed=0):
    """Return two editions of books of so many characters; the second has something before it."""
    files = {}
    for number, (length, preface) in enumerate(zip(books, prefaces)):
        files[f"{number}-first"] = book = text(length, seed + 2 * number)
        files[f"{number}-second"] = text(preface, seed + 2 * number + 1) + "\n\n" + book
    return files


SIZES = st.tuples(st.integers(25_000, 150_000), st.integers(0, 50_000), st.integers(0, 2**32))


@given(st.lists(SIZES, min_size=12, max_size=14), st.integers(0, 99), st.integers(50_000, 100_000))
@example([(150_000, 40_000, 2 * number) for number in range(12)], 0, 100_000)
@settings(suppress_health_check=list(HealthCheck), max_examples=1, deadline=None)
def test_no_paragraph_held_out_of_a_book_stands_in_its_other_edition(tmp_path_factory, sizes, seed, max_characters):
    """Five seconds: what is cut into sections of 50,000 characters and more is long."""
    lengths, prefaces, order = zip(*sizes)
    names = (f"{place ^ at}-{at}" for at, place in enumerate(order) for _ in "12")
    files = {
        f"{name}-{at}": each for at, (name, each) in enumerate(zip(names, editions(lengths, prefaces, seed).values()))
    }
    folder = tmp_path_factory.mktemp("editions")
    num, num_known, kept = held_out_and_known(folder, files, max_document_characters=max_characters)
    # less than a passage of 2,000 characters, four paragraphs, may stand in both
    assert num and num_known <= 4, f"{num_known} of {num} held-out paragraphs stand in the training text"
    # of each book the second edition's preface, and the section in which it ends
    assert kept <= sum(lengths) + sum(prefaces) + len(sizes) * max_characters


@given(st.integers(0, 99), st.integers(2, 6), st.integers(5000, 30_000))
@settings(suppress_health_check=list(HealthCheck), max_examples=2, deadline=None)
def test_a_chapter_that_a_few_documents_share_is_not_held_out(tmp_path_factory, seed, num_sharing, length):
    """They are too different for duplicates."""
    chapter = text(length, seed)
    files = {f"{at:02d}": text(60_000 + 1000 * at, 100 * seed + at + 1000) for at in range(30)}
    files |= {f"{at:02d}": f"{files[f'{at:02d}']}\n\n{chapter}" for at in range(0, 5 * num_sharing, 5)}
    num, num_known, _ = held_out_and_known(tmp_path_factory.mktemp("chapter"), files)
    assert num and not num_known


@pytest.mark.parametrize(("num_alone", "says_so"), [(0, True), (1, False)])
def test_a_source_of_which_each_document_shares_a_passage_says_what_that_does(tmp_path, num_alone, says_so):
    files = {f"{at}": f"{text(20_000, at + 1)}\n\n{text(4000, 100 + at // 2)}" for at in range(8)}
    files |= {f"alone-{at}": text(20_000, 200 + at) for at in range(num_alone)}
    said = []
    num, num_known, _ = held_out_and_known(tmp_path, files, said.append)
    assert num and bool(num_known) == says_so == any("each document has a passage in common" in line for line in said)
