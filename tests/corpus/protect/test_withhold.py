from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from headwater.corpus.protect.decontaminate import SHORT_CHARACTERS, withhold

PATTERNS = [re.compile(r"capital of \w+ is"), re.compile(r"12 \+ 7 = 19")]


def test_only_the_sentence_is_cut_out_of_a_long_text(make_prose):
    before, after = make_prose(300, 1).strip(), make_prose(300, 2).strip()
    text = f"{before} The capital of France is Paris. {after}"
    assert withhold(text, PATTERNS) == (f"{before} {after}", "The capital of France is Paris. ")


def test_what_a_cut_brings_together_is_searched_again(make_prose):
    text = f"{make_prose(400)}\nthe capital of\ncapital of Spain is\nPeru is Lima"
    kept, cut = withhold(text, [re.compile(r"capital of\s\w+ is"), re.compile(r"capital of Spain is")])
    assert kept is not None
    assert not re.search(r"capital of\s\w+ is", kept)
    assert "Spain" in cut


@given(
    st.lists(
        st.sampled_from(["the capital of Spain is Madrid", "12 + 7 = 19", "word", ". ", "! ", "\n", " "]), max_size=40
    )
)
def test_no_match_survives_and_nothing_else_is_lost(parts):
    text = "".join(parts) + "\n" + "filler words. " * (SHORT_CHARACTERS // 10)
    kept, cut = withhold(text, PATTERNS)
    if kept is None:
        return
    assert not any(pattern.search(kept) for pattern in PATTERNS)
    assert len(kept) + len(cut) == len(text)
