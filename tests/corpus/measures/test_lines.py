from __future__ import annotations

import textwrap

import pytest

from headwater.corpus.measures.lines import cut_lines, meant_lines, stripped_lines, wrap_width
from headwater.corpus.scripts import ends_sentence, num_sentences


def test_a_line_broken_by_a_hard_wrap_is_joined_and_others_stay():
    text = (
        "The river runs down from the mountain and through\nthe city, where it slows\n\n"
        "Contents\nfirst part\nsecond part\n\n"
        "A sentence that is long enough to have been wrapped.\nthe next begins small, but after a full stop"
    )
    assert meant_lines(stripped_lines(text)) == [
        "The river runs down from the mountain and through the city, where it slows",
        *("Contents", "first part", "second part"),
        "A sentence that is long enough to have been wrapped.",
        "the next begins small, but after a full stop",
    ]


PARAGRAPHS = [
    "In the beginning God created the heaven and the earth. 2 And the earth was without form, and void; and darkness "
    "was upon the face of the deep. 3 And God said, Let there be light: and there was light.",
    "Mr. Smith of London, England, met Mrs. Brown, of Paris, France, in 1872 at the Hotel Continental, Rue de Rivoli.",
    "A third paragraph; it is here to be wrapped like the others, and to hold a very long word: " + "x" * 30 + ".",
]


@pytest.mark.parametrize("width", [50, 60, 72, 78, 100])
def test_wrapped_paragraphs_are_joined_whatever_a_line_begins_with(width):
    paragraphs = [" ".join([paragraph] * 3) for paragraph in PARAGRAPHS]
    wrapped = "\n\n".join(textwrap.fill(paragraph, width) for paragraph in paragraphs)
    assert meant_lines(stripped_lines(wrapped)) == paragraphs


def test_verse_lists_and_code_have_no_width():
    verse = "Tyger Tyger, burning bright,\nIn the forests of the night;\nWhat immortal hand or eye,\nCould frame thy\n"
    for text in (verse * 3, "\n".join("ab " * (n % 13 + 3) for n in range(40)), "def f(x):\n    return x\n" * 9, ""):
        assert wrap_width(text.split("\n")) == 0


def test_lines_that_end_a_sentence_and_lines_that_end_none():
    ends = ["It ends.", 'He said "no."', "(It ends!)", "到達大海。", "Isn’t it?”", "so it is…"]
    assert [line for line in ends if not ends_sentence(line)] == []
    assert [line for line in ("Contents", "see also:", '"', "f(x);", "1.2.3", "a, b") if ends_sentence(line)] == []


def test_sentences_are_counted_up_to_the_number_requested():
    text = 'Version 3.13.5 is out. It is "good." Is it? Yes'
    assert num_sentences(text, 4) == 3
    assert num_sentences(text, 2) == 2, "those beyond enough are not counted"
    assert num_sentences("", 1) == 0


def test_lines_with_a_phrase_are_cut_where_they_are_short():
    long = "cookies " * 50
    assert cut_lines(f"one\nAccept COOKIES\n{long}\ntwo", ["accept cookies"]) == (f"one\n{long}\ntwo", "Accept COOKIES")
    assert cut_lines("one\ntwo", ["cookies"]) == ("one\ntwo", "")
