from __future__ import annotations

import pytest

from headwater.corpus.lines import cut_lines, ends_sentence, has_sentences, line_shapes, meant_lines


def test_a_line_broken_by_a_hard_wrap_is_joined_and_others_stay():
    text = (
        "The river runs down from the mountain and through\nthe city, where it slows\n\n"
        "Contents\nfirst part\nsecond part\n\n"
        "A sentence that is long enough to have been wrapped.\nthe next begins small, but after a full stop"
    )
    assert meant_lines(text) == [
        "The river runs down from the mountain and through the city, where it slows",
        *("Contents", "first part", "second part"),
        "A sentence that is long enough to have been wrapped.",
        "the next begins small, but after a full stop",
    ]


@pytest.mark.parametrize("line", ["It ends.", 'He said "no."', "(It ends!)", "到達大海。", "Isn’t it?”", "so it is…"])
def test_lines_that_end_a_sentence(line):
    assert ends_sentence(line)


@pytest.mark.parametrize("line", ["Contents", "see also:", '"', "f(x);", "1.2.3", "a, b"])
def test_lines_that_end_none(line):
    assert not ends_sentence(line)


def test_shapes_by_hand():
    shapes = line_shapes("- one thing\n\n* and more...\nIt is so.\nHome\n", short_line_characters=9)
    assert (shapes.lines, shapes.bullets, shapes.ellipses) == (4, 2, 1)
    assert shapes.characters == 11 + 13 + 9 + 4
    assert (shapes.short_characters, shapes.sentence_characters) == (9 + 4, 13 + 9)


def test_sentences_are_counted_up_to_the_number_asked_for():
    text = 'Version 3.13.5 is out. It is "good." Is it? Yes'
    assert has_sentences(text, 3)
    assert not has_sentences(text, 4)
    assert has_sentences("", 0)


def test_lines_with_a_phrase_are_cut_where_they_are_short():
    long = "cookies " * 50
    assert cut_lines(f"one\nAccept COOKIES\n{long}\ntwo", ["accept cookies"]) == (f"one\n{long}\ntwo", "Accept COOKIES")
    assert cut_lines("one\ntwo", ["cookies"]) == ("one\ntwo", "")
