from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headwater.corpus.read.sections import cut_point, sections

TEXT = st.text(alphabet="ab. \nü", max_size=400)


@given(st.lists(TEXT, max_size=5), st.integers(2, 60))
def test_sections_joined_are_the_text_and_none_is_too_long(chunks, size):
    cut = list(sections(chunks, size))
    assert "".join(cut) == "".join(chunks)
    assert all(0 < len(section) <= size for section in cut)


@given(TEXT.filter(bool), st.integers(2, 60))
def test_chunks_do_not_matter_where_all_text_arrives_before_the_first_cut(text, size):
    assert list(sections([text], size)) == list(sections(["", text, ""], size))


def test_a_paragraph_end_is_better_than_a_line_end_than_a_sentence_than_a_space():
    assert cut_point("aaaa aaaa aa\n\nb\nb. b", 0, 20) == 14
    assert cut_point("aaaa aaaa aa b\nb. b b", 0, 20) == 15
    assert cut_point("aaaa aaaa aa b. b bb", 0, 20) == 16
    assert cut_point("aaaa aaaa aaaa bbbbb", 0, 20) == 15
    assert cut_point("a" * 30, 0, 20) == 20


def test_no_crumb_is_left_over():
    text = "word " * 21
    assert min(map(len, sections([text], 100))) >= 40
