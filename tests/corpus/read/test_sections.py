from __future__ import annotations

import random
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from headwater.corpus.read import sections as module
from headwater.corpus.read.sections import CutPoints, sections

TEXT = st.text(alphabet="ab. \nü", max_size=400)


@given(st.lists(TEXT, max_size=5), st.integers(2, 60))
def test_sections_joined_are_the_text_and_none_is_too_long_or_a_crumb(chunks, size):
    cut = list(sections(chunks, size))
    assert "".join(cut) == "".join(chunks)
    assert all(0 < len(section) <= size for section in cut)
    assert len(cut) <= 1 or min(map(len, cut)) >= size // 4


@given(TEXT, st.lists(st.integers(0, 400), max_size=9), st.integers(2, 9))
def test_how_a_text_arrives_moves_no_cut(text, places, size):
    places = [0, *sorted(places), len(text)]
    chunks = [text[start:end] for start, end in pairwise(places)]
    assert list(sections(chunks, size)) == list(sections([text], size))


def test_a_paragraph_end_is_better_than_a_line_end_than_a_sentence_than_a_space():
    assert CutPoints("aaaa aaaa aa\n\nb\nb. b").best(10, 20) == 14
    assert CutPoints("aaaa aaaa aa b\nb. b b").best(10, 20) == 15
    assert CutPoints("aaaa aaaa aa b. b bb").best(10, 20) == 16
    assert CutPoints("aaaa aaaa aaaa bbbbb").best(10, 20) == 15
    assert CutPoints("a" * 30).best(10, 20) == 15


@given(st.integers(0, 60_000), st.integers(20_000, 120_000), st.integers(0, 9), st.integers(700, 5000))
@example(50_000, 120_000, 0, 5000)
def test_what_stands_before_a_text_moves_few_of_its_cuts(length, text_length, seed, size):
    """With `size` 700 the texts are longer than what is cut in view of each other."""
    chance = random.Random(seed)
    lines = [
        "".join(chance.choices("abcde ", k=chance.randrange(40, 120))) for _ in range((length + text_length) // 80)
    ]
    before, text = "\n".join(lines)[:length], "\n".join(lines)[length:]
    own, moved = set(sections([text], size)), set(sections([before + text], size))
    shifts = 3 + len(text) // (module._SECTIONS_AT_ONCE * size)  # at every such place they may miss each other
    assert sum(map(len, own - moved)) <= 3 * shifts * size
