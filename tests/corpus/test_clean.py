from __future__ import annotations

import unicodedata

import pytest
from golden_rows import rows
from hypothesis import given
from hypothesis import strategies as st

from headwater.corpus.clean import clean

KINDS = st.sampled_from(["text", "code", "books"])
TEXT = st.text(
    alphabet=st.one_of(st.characters(codec="utf-8"), st.sampled_from(" \t\r\n\x0c\u00ade\u0301")), max_size=80
)


@pytest.mark.parametrize(("raw", "cleaned"), rows("prose"))
def test_prose(raw, cleaned):
    assert clean(raw, "text") == cleaned


def test_code_keeps_its_indentation_and_its_characters():
    code = '\n\n    x = "e\u0301"  \n\n\n\tif x:\n'
    assert clean(code, "code") == '    x = "e\u0301"\n\n\n\tif x:'


@given(TEXT, KINDS)
def test_cleaning_twice_changes_nothing(text, kind):
    once = clean(text, kind)
    assert clean(once, kind) == once


@given(TEXT, KINDS)
def test_every_visible_character_stays_in_order(text, kind):
    def visible(value):
        return "".join(
            c for c in unicodedata.normalize("NFC", value) if not c.isspace() and unicodedata.category(c)[0] != "C"
        )

    assert visible(clean(text, kind)) == visible(text)
