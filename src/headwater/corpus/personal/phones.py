"""Where telephone numbers stand in a text. What has + and a country's code is checked by that country's numbering plan.

A number without them belongs to no country that could be told, so its plan can't be asked: it is one after a word such
as Tel. alone, since orders, parts and identity cards have numbers of every form.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from functools import cache, lru_cache

from headwater.corpus.scripts import is_unspaced
from headwater.corpus.step import Span
from headwater.corpus.toml_tables import listed

_RUN = re.compile(r"[0-9+(][0-9 ().+/-]{6,}+")
# digits of Arabic, Persian, Devanagari and full width; full-width signs, no-break space, hyphens
_D, _S = (
    "0-9\u0660-\u0669\u06f0-\u06f9\u0966-\u096f\uff10-\uff19",
    " ().+/\uff08\uff09\uff0b\uff0d\u00a0\u202f\u2010-\u2013-",
)
_FOREIGN_RUN = re.compile(rf"[{_D}+(\uff0b\uff08][{_D}{_S}]{{6,}}+")
_MIN_DIGITS, _MAX_DIGITS = 7, 15  # E.164
_MIN_COUNTED_DIGITS = 9  # a figure of fewer, without a zero before it, may be a count
_BEGIN, _DIGITS = re.compile(r"[\d(\uff08]"), re.compile(r"\d+")
_FILM = re.compile(r"555[ .-]01\d\d$")  # the numbers that films are given
_INTERNATIONAL = re.compile(r"(?<![A-Za-z0-9_+./~=*-])[+\uff0b][^+\uff0b]{7,30}")
_NEXT = re.compile(rf"[ ./-]{{1,3}}[0(\uff08](?:\D*\d){{{_MIN_DIGITS - 1}}}")
# what belongs to something else: to a word, a decimal, a price
_JOINED = re.compile(r"(?:[A-Za-z0-9+/._~=#%-]|[$€£¥₹] ?)$")
_GOES_ON = re.compile(r"[A-Za-z0-9_%-]|\.\d")
_DATE = re.compile(
    r"(?:19|20)\d\d[ ./-]{1,3}(?:19|20)\d\d\b|\d{1,2}([./-])\d{1,2}\1(?:19|20)\d\d|(?:19|20)\d\d([./-])\d\d\2\d\d\b"
)
_BEFORE_CHARACTERS = 40


def find_phones(text: str) -> Iterator[Span]:
    """Yield where telephone numbers stand, but for those that films are given (555-0100 to 555-0199).

    In a run of digits there may be several: some with a country's code, and before each others, one behind another.
    What stands immediately behind a number isn't joined to it: the number gives way to a placeholder.
    """
    found_to = 0
    for run in (_RUN if text.isascii() else _FOREIGN_RUN).finditer(text):
        if sum(map(str.isdigit, run.group())) < _MIN_DIGITS:
            continue
        start, end = run.span()
        for number in (*_international(text, start, end), (end, end)):
            while (begin := _BEGIN.search(text, max(start, found_to), number[0])) and (
                found := _national(text, begin.start(), number[0], found_to)
            ):
                found_to = found[1]
                yield found
            if number[0] < end:
                found_to = number[1]
                yield number


def _international(text: str, start: int, end: int) -> Iterator[Span]:
    for match in _INTERNATIONAL.finditer(text, start, end):
        ends = _ends(text, match.start(), match.end())
        if (to := next((to for to in ends if _is_of_a_country(text[match.start() : to])), None)) is not None:
            yield match.start(), to


def _national(text: str, start: int, end: int, found_to: int) -> Span | None:
    """Return the number that a run of digits begins with. Up to `found_to` numbers were found."""
    if _JOINED.search(text[max(start - 2, found_to) : start]) or _DATE.match(text, start, end):
        return None
    if not _label().match(text[max(start - _BEFORE_CHARACTERS, 0) : start]):
        return None
    for to in _ends(text, start, end):
        groups = _DIGITS.findall(text, start, to)
        if len(groups) > 1 or int(groups[0][0]) == 0 or len(groups[0]) >= _MIN_COUNTED_DIGITS:  # 1000000 is a count
            return start, to
    return None


def _ends(text: str, start: int, end: int) -> list[int]:
    """Return where a number that begins at `start` may end, the likeliest first.

    That is before what looks like the next number, with a zero or in brackets, else after as many groups as it can
    have. Two spaces divide numbers, and a single digit after a stop is a decimal.
    """
    ends, digits, last = list[int](), 0, start
    for group in _DIGITS.finditer(text, start, end):
        between = text[last : group.start()]
        digits += len(group.group())
        if digits > _MAX_DIGITS or "  " in between or (between.endswith(".") and len(group.group()) == 1 < digits):
            break
        last = group.end()
        if digits >= _MIN_DIGITS and not _GOES_ON.match(text, last) and not _FILM.search(text, start, last):
            ends.append(last)
    return sorted(ends, key=lambda at: (bool(_NEXT.match(text, at, end)), at), reverse=True)


@lru_cache(maxsize=4096)
def _is_of_a_country(number: str) -> bool:
    """Return whether a number with a country's code is one that the country gives: without its (0), or with it."""
    import phonenumbers

    for spelt in {number.replace("(0)", ""), number}:
        with suppress(phonenumbers.NumberParseException):
            if phonenumbers.is_valid_number(phonenumbers.parse("+" + phonenumbers.normalize_digits_only(spelt))):
                return True
    return False


@cache
def _label() -> re.Pattern[str]:
    """Return what matches up to a number behind a word for a telephone: in its line, without other digits between."""
    words = listed("headwater.corpus.personal", "phone_words")
    spaced = "|".join(re.escape(word).replace(r"\*", r"\w*") for word in words if not is_unspaced(word))
    unspaced = "|".join(filter(is_unspaced, words))
    # a placeholder is no such word
    return re.compile(rf"(?s:.*)(?:(?<![\w<])(?:{spaced})(?!\w)|{unspaced})[^\d\n]*$", re.IGNORECASE)
