"""What a writing system decides: what is a word in it, and what ends a sentence.

From Unicode's own tables, written down in scripts.toml, not looked up by the package `regex`: so a corpus doesn't
depend on its version, and `re` is faster.
"""

from __future__ import annotations

import re

from headwater.corpus.toml_tables import toml_table

_SIGNS = toml_table("headwater.corpus", "scripts")
_CLUSTERS, _ENDS, _INVISIBLE = (_SIGNS[name] for name in ("clusters", "ends", "invisible"))

UNSPACED = _SIGNS["characters"] + _CLUSTERS
_UNSPACED = re.compile(f"[{UNSPACED}\u0f00-\u0fff]+")
_NOT_CHARACTERS = re.compile(f"[{_CLUSTERS}\u0f00-\u0fff]")
_JOINED = f"[{_CLUSTERS}](?:[{_SIGNS['marks']}]|(?<=[{_SIGNS['stacked']}])[{_CLUSTERS}])*|[{_SIGNS['syllables']}]+"
_UNIT = re.compile(f"{_JOINED}|[^\\s\u0f00-\u0fff]")
_ASCII_WORD = re.compile(r"\S+")
_WORD_OR_UNIT = re.compile(f"{_JOINED}|[{_SIGNS['characters']}]|[^\\s{UNSPACED}\u0f00-\u0fff]+")

# scripts in which a space stands between sentences and nothing else: Thai, Lao
_UNMARKED_SENTENCES = re.compile("[\u0e01-\u0eff]+")
# a full stop within a number or an address ends nothing; of other scripts' signs each does, and so do two of
# Ethiopic's dots between words, and an upright stroke for Devanagari's, as many type them
_QUOTES = "”’»“‘«"  # the last three end what others begin with „, ‚ and »
_FULL_STOP = re.compile(f"[.!?\u2026\u061f][\"')\\]{_QUOTES}{_INVISIBLE}]*(?=\\s|$)")
_STOP = re.compile(f"{_FULL_STOP.pattern}|[{_ENDS}]|\u1361\u1361|[\u0900-\u0dff] ?\\|(?=\\s|$)")
# a text without one of these has full stops alone; they are looked for among its other characters, each once
_BEYOND_LATIN = re.compile("[^\x00-\u0588]+")
_FOREIGN_STOP = re.compile(f"[{_ENDS}\u1361\u0900-\u0dff]")
_TO_LAST_FULL_STOP, _TO_LAST_STOP = (re.compile(f"(?s:.*)(?:{stop.pattern})") for stop in (_FULL_STOP, _STOP))
_PARAGRAPH_CHARACTERS = 200
_STOPS_AT_ONCE = 4000  # characters
# spaces: before a French », between signs of direction
_AROUND = "\"')]}*_`）」』】》〉 \u00a0\u202f" + _QUOTES + _INVISIBLE
_MAY_END = frozenset(_AROUND + "|")  # ASCII beside full stops
_FOREIGN_END = re.compile(f"(?:[\u2026\u061f{_ENDS}]|\u1361\u1361|[\u0900-\u0dff] ?\\|)$")


def num_sentences(text: str, enough: int) -> int:
    """Return how many sentences a text has, `enough` at most: full stops before white space, other scripts' signs."""
    has_others = not text.isascii() and _FOREIGN_STOP.search("".join(set("".join(_BEYOND_LATIN.findall(text)))))
    stop = _STOP if has_others else _FULL_STOP
    number = start = 0
    while number < enough and start < len(text):
        line_end = text.find("\n", start + _STOPS_AT_ONCE)  # no stop goes on behind it
        end = line_end if line_end >= 0 else len(text)
        number += len(stop.findall(text, start, end))
        start = end
    return min(number, enough)


def ends_sentence(line: str) -> bool:
    """Return whether a line ends as a sentence does, a closing bracket or quotation mark after it or not."""
    if line[-1:] in _AROUND:
        line = line.rstrip(_AROUND)
    if line.endswith((".", "!", "?")):
        return True
    return not line.isascii() and _FOREIGN_END.search(line[-3:]) is not None


def sentence_characters(lines: list[str]) -> int:
    """Return how many characters of lines, of which none is empty, are in sentences."""
    total = 0
    for line in lines:
        last = line[-1]
        if last in ".!?":
            total += len(line)
        elif len(line) >= _PARAGRAPH_CHARACTERS or last in _MAY_END or last > "\x7f":
            total += _sentence_characters(line)
    return total


def _sentence_characters(line: str) -> int:
    """Return how many characters of a line are in sentences: all where it ends as one does.

    Of a paragraph that ends otherwise, as before a quotation, those to its last sentence's end.
    """
    if ends_sentence(line):
        return len(line)
    if len(line) < _PARAGRAPH_CHARACTERS:
        return 0
    match = (_TO_LAST_FULL_STOP if line.isascii() else _TO_LAST_STOP).match(line)
    return match.end() if match else 0


def is_unspaced(text: str) -> bool:
    """Return whether the text is in a script that doesn't separate words, judged by its first 2000 characters."""
    if text.isascii():
        return False
    head = text[:2000]
    return sum(map(len, _UNSPACED.findall(head))) > 0.2 * len(head)


def marks_sentences(text: str) -> bool:
    """Return whether the text is in a script that has signs for the end of a sentence: all but Thai and Lao have."""
    if text.isascii():
        return True
    head = text[:2000]
    return sum(map(len, _UNMARKED_SENTENCES.findall(head))) <= 0.2 * len(head)


def words_of(text: str) -> list[str]:
    """Return the words in lower case: what white space separates; in an unspaced script its units (`units_of`)."""
    return units_of(text) if is_unspaced(text) else spaced_words_of(text)


def spaced_words_of(text: str) -> list[str]:
    return text.lower().replace("\u1361", " ").split()  # that is Ethiopic's two dots between words


def word_spans(text: str) -> list[tuple[int, int]]:
    """Return where the words of a text begin and end: what white space separates, and units of unspaced scripts."""
    return [match.span() for match in (_ASCII_WORD if text.isascii() else _WORD_OR_UNIT).finditer(text)]


def units_of(text: str) -> list[str]:
    """Return the characters of Chinese and Japanese, syllables of Tibetan, letters with marks from Thai to Khmer."""
    lowered = text.lower()
    return _UNIT.findall(lowered) if _NOT_CHARACTERS.search(text) else list("".join(lowered.split()))
