"""Writing systems: beside Unicode's tables as the package `regex` has them, and by hand."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from golden_rows import rows

from headwater.corpus.scripts import (
    ends_sentence,
    is_unspaced,
    marks_sentences,
    num_sentences,
    sentence_characters,
    words_of,
)

regex = pytest.importorskip("regex")
CHARACTERS = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]


def test_sentence_ends_are_unicodes_with_the_ellipsis_and_tibetan_strokes():
    expected = set(regex.findall(r"\p{Sentence_Terminal}", "".join(CHARACTERS))) | set("…།༎༑༔")
    assert {character for character in CHARACTERS if ends_sentence(character)} == expected


_UNSPACED = (
    "Han Hiragana Katakana Bopomofo Yi Thai Lao Myanmar Khmer Tibetan New_Tai_Lue Tai_Tham Balinese Javanese Tai_Viet"
)
_SPACED = (
    "Latin Cyrillic Greek Arabic Hebrew Hangul Devanagari Tamil Malayalam Ethiopic Georgian Armenian Mongolian Cherokee"
)
UNSPACED, SPACED = _UNSPACED.split(), _SPACED.split()


@pytest.mark.parametrize("script", UNSPACED + SPACED)
def test_letters_of_a_script_are_spaced_or_not(script):
    letters = regex.findall(rf"[\p{{Script={script}}}&&\p{{L}}]", "".join(CHARACTERS), regex.V1)
    basic = [letter for letter in letters if ord(letter) < 0x10000 or ord(letter) >= 0x20000]
    assert basic
    assert {is_unspaced(letter) for letter in basic} == {script in UNSPACED}


@pytest.mark.parametrize(("text", "words"), rows("words_and_the_units_of_unspaced_scripts"))
def test_words_and_the_units_of_unspaced_scripts(text, words):
    assert words_of(text) == words


def test_no_mark_stands_alone_as_a_unit():
    for text in ("ผู้ที่อยู่ในน้ำ", "ຜູ້ທີ່ຢູ່ໃນນ້ຳ", "ကျွန်ုပ်တို့သည်", "ខ្ញុំនៅក្នុងទឹក"):
        assert not any(unicodedata.category(unit[0]).startswith("M") for unit in words_of(text)), text
        assert "".join(words_of(text)) == text


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("一。二！三？", 3),
        ("本研究は，川を調べた．結果は次の通り．", 2),
        ("က။ ခ၊ ဂ။", 3),
        ("ក។ ខ។", 2),
        ("ཀ། ཁ།", 2),
        ("ሀ። ለ።", 2),
        ("Է։ Է։", 2),
        ("ሀ፡፡ ለ፡፡", 2),  # as many type Ethiopic's full stop
        ("क ख | ग|", 2),  # and Devanagari's
        ("د.\u200e \u200eد.\u200f \u200e", 2),  # signs of direction stand around them
        ("«\u00a0Oui. Il le savait.\u00a0»", 2),
        ("„Ja.“ ‚Nein.‘ »Wohl.«", 3),
    ],
)
def test_sentences_end_as_their_script_has_it(text, sentences):
    assert num_sentences(text, 10) == sentences
    assert ends_sentence(text)


def test_a_paragraph_that_ends_otherwise_counts_to_its_last_sentence():
    sentence = "The river rose in the night and nobody in the village by the bridge had heard of it. "
    assert sentence_characters([sentence * 3 + "He wrote to his brother, who lived there;"]) == 3 * len(sentence) - 1
    assert sentence_characters(["Vol. 3, see also the index"]) == 0


def test_thai_and_lao_do_not_mark_sentences():
    assert not marks_sentences("แม่น้ำไหลลงสู่ทะเล") and not marks_sentences("ແມ່ນ້ຳໄຫລລົງສູ່ທະເລ")
    assert marks_sentences("The river flows.") and marks_sentences("河流入海。") and marks_sentences("ខ្មែរ។")
