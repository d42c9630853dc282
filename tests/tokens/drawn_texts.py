"""Texts that tokenizers find awkward, drawn."""

from __future__ import annotations

from hypothesis import strategies as st

any_text = st.text(st.characters(exclude_categories=["Cs"]))
# what a general strategy rarely makes: runs of white space, line ends and letters, apostrophes
AWKWARD = [
    *("a", "The river", " ", "   ", "\n", "\n\n", "\r\n", "\t", "'s", "é", "e\u0301", "1", "12345", "--", "河", "한"),
    *("\x1c", "\x00", "😀", "½", "!x", "ø", "\u2028", "\xa0"),
]


def texts_of(*more: str) -> st.SearchStrategy[str]:
    """Return texts of any characters, and of awkward pieces and these."""
    return any_text | st.lists(st.sampled_from([*AWKWARD, *more])).map("".join)
