"""What a run continues when its file names no prompts: how sentences of its held-out text begin."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice
from textwrap import shorten

PROMPT_WORDS, PROMPT_CHARACTERS = 4, 40
PROSE_WORDS, MIN_SMALL = 8, 5
"How many words of a sentence must be plain ones, and how many of them begin with a small letter."
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*[,;:]?")


def beginnings(texts: Iterable[str], number: int) -> list[str]:
    """Return how a sentence of prose begins in each text that has one; where those are too few, how others begin."""
    known = [(text, _sentence(text)) for text in texts]
    found = [sentence or text for text, sentence in sorted(known, key=lambda each: each[1] is None)]
    words = (" ".join(text.replace("\ufffd", "").split()[:PROMPT_WORDS]) for text in found)
    short = (shorten(text, PROMPT_CHARACTERS, placeholder="") or text[:PROMPT_CHARACTERS] for text in words)
    return list(islice(dict.fromkeys(filter(None, short)), number))


def _sentence(text: str) -> str | None:
    """Return the first sentence of prose in a text; program code, tables, headings and licence lines are none."""
    for paragraph in re.split(r"\n\s*\n", text):
        for sentence in re.split(r"[.!?\]][\"”’)]*\s+", paragraph.strip()):
            words = sentence.split()[:PROSE_WORDS]
            is_plain = len(words) == PROSE_WORDS and all(map(_WORD.fullmatch, words)) and words[0][0].isupper()
            if is_plain and sum(word[0].islower() for word in words) >= MIN_SMALL:
                return sentence
    return None
