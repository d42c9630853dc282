"""Where telephone numbers stand in a text. What has a country's code is checked by that country's numbering plan.

A number without one belongs to no country that could be told, so its plan can't be asked: it is taken after a word
such as Tel., or for its form, with the zero of long distance or an area code in brackets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, lru_cache

from headwater.corpus.personal.find import Scanned, Span, listed
from headwater.corpus.scripts import is_unspaced

_MIN_DIGITS, _MAX_DIGITS = 7, 15  # E.164
_MIN_UNLABELLED_DIGITS = 9
_BEGIN, _DIGITS = re.compile(r"[\d(\uff08]"), re.compile(r"\d+")
_FILM = re.compile(r"555[ .-]01\d\d$")  # the numbers that films are given
_INTERNATIONAL = re.compile(r"(?<![A-Za-z0-9_+./~=*-])(?:[+\uff0b]|00(?=[1-9]))[^+\uff0b]{7,30}")
_MANY_DIGITS = re.compile(rf"(?:\D*\d){{{_MIN_DIGITS}}}")
_NEXT = re.compile(r"[ ./-]{1,3}[0(\uff08]")
# what belongs to something else: to a word, a decimal, a price
_JOINED = re.compile(r"(?:[A-Za-z0-9+/._~=#%-]|[$€£¥₹] ?)$")
_GOES_ON = re.compile(r"[A-Za-z0-9_%-]|\.\d")
_DATE = re.compile(
    r"(?:19|20)\d\d[ ./-]{1,3}(?:19|20)\d\d\b|\d{1,2}([./-])\d{1,2}\1(?:19|20)\d\d|(?:19|20)\d\d([./-])\d\d\2\d\d\b"
)
# 212-555-1234 is as the US writes it; 02110-1301 is the end of an address there
_SAYS_ITSELF = re.compile(
    r"(?:\d ?)?[(\uff08]\d[\d ]{1,5}[)\uff09][ -]?\d{2,}(?:[ -]\d{2,})*|(?:1[ .-])?[2-9]\d\d([.-])[2-9]\d\d\1\d{4}"
    r"|(?!\d{5}-\d{4}$)0[1-9]\d{0,3}(?:[ -]\d{2,}){1,5}|0[1-9]\d{0,3} ?/ ?\d{4,8}(?:-\d{1,4})?"
)
_BEFORE_CHARACTERS, _BESIDE_CHARACTERS = 40, 9
_WORD = re.compile(r"[^\s\d.,:;()/|*«»\"'<>\[\]{}+=–—\uff1a\uff08\uff09\uff0c\u3001\u3002-]+")
_NUMBER_WORDS = "no nr num n nº n° № number nummer numer número numéro numero номер"


def find_phones(scanned: Scanned) -> Iterator[Span]:
    """Yield where telephone numbers stand, but for those that films are given (555-0100 to 555-0199)."""
    text, found_to = scanned.text, 0
    for start, end in scanned.digit_runs(_MIN_DIGITS):
        for at, to in _numbers(text, start, end, found_to):
            if not _FILM.search(text[at:to]):
                found_to = to
                yield at, to


def _numbers(text: str, start: int, end: int, found_to: int) -> Iterator[Span]:
    """Yield the numbers in a run of digits: those with a country's code, and before each others, one behind another.

    What stands immediately behind a number isn't joined to it: the number gives way to a placeholder.
    """
    for number in (*_international(text, start, end), (end, end)):
        begin = _BEGIN.search(text, start, number[0])
        while begin is not None and (found := _national(text, begin.start(), number[0], found_to)) is not None:
            yield found
            found_to = found[1]
            begin = _BEGIN.search(text, found_to, number[0])
        if number[0] < end:
            yield number
        start = found_to = number[1]


def _international(text: str, start: int, end: int) -> Iterator[Span]:
    for match in _INTERNATIONAL.finditer(text, start, end):
        ends = _ends(text, match.start(), match.end())
        if (to := next((to for to in ends if _is_of_a_country(text[match.start() : to])), None)) is not None:
            yield match.start(), to


def _national(text: str, start: int, end: int, found_to: int) -> Span | None:
    """Return the number that a run of digits begins with. Up to `found_to` numbers were found."""
    if _JOINED.search(text[max(start - 2, found_to) : start]) or _DATE.match(text, start, end):
        return None
    is_beside, is_near = _labelled(text[max(start - _BEFORE_CHARACTERS, 0) : start])
    for to in _ends(text, start, end):
        groups = _DIGITS.findall(text, start, to)
        num_digits = sum(map(len, groups))
        is_plain = len(groups) == 1 and int(groups[0][0]) > 0  # 1000000 may count anything
        by_form = num_digits >= _MIN_UNLABELLED_DIGITS and _SAYS_ITSELF.fullmatch(text[start:to])
        if by_form or (is_near and not is_plain) or (is_beside and num_digits >= _MIN_UNLABELLED_DIGITS):
            return start, to
    return None


def _ends(text: str, start: int, end: int) -> list[int]:
    """Return where a number that begins at `start` may end, the likeliest first.

    That is before what looks like the next number, else after as many groups as it can have. Two spaces divide numbers,
    and a single digit after a stop is a decimal.
    """
    ends, digits, last = list[int](), 0, start
    for group in _DIGITS.finditer(text, start, end):
        between = text[last : group.start()]
        digits += len(group.group())
        if digits > _MAX_DIGITS or "  " in between or (between.endswith(".") and len(group.group()) == 1 < digits):
            break
        last = group.end()
        if digits >= _MIN_DIGITS and not _GOES_ON.match(text, last):
            ends.append(last)
    return sorted(ends, key=lambda at: (_begins_number(text, at, end), at), reverse=True)


def _begins_number(text: str, start: int, end: int) -> bool:
    """Return whether what follows a number in its run is another that begins with a zero or in brackets."""
    return bool(_NEXT.match(text, start, end) and _MANY_DIGITS.match(text, start, end))


@lru_cache(maxsize=4096)
def _is_of_a_country(number: str) -> bool:
    """Return whether a number with a country's code is one that the country gives. (0) in it is skipped."""
    import phonenumbers

    digits = "".join(str(int(letter)) for letter in number.replace("(0)", "") if letter.isdecimal())
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse("+" + digits.removeprefix("00")))
    except phonenumbers.NumberParseException:
        return False


@cache
def _phone_words() -> tuple[frozenset[str], tuple[str, ...], re.Pattern[str]]:
    """Return the words that numbers stand after: whole ones, beginnings, and those of scripts without spaces."""
    words = listed("phone_words")
    anywhere = "|".join(re.escape(word) for word in words if is_unspaced(word))
    return frozenset(words), tuple(word[:-1] for word in words if word.endswith("*")), re.compile(anywhere)


def _labelled(before: str) -> tuple[bool, bool]:
    """Return whether a word for a telephone stands immediately before a number, and whether in the line before it."""
    line = before.rpartition("\n")[2].replace("<PHONE>", " " * len("<PHONE>"))  # a placeholder is no such word
    words, beginnings, anywhere = _phone_words()
    found = [(match.end(), match.group().lower()) for match in _WORD.finditer(line)]
    while found and found[-1][1] in _NUMBER_WORDS.split():
        found.pop()
    ends = [end for end, word in found if word in words or word.startswith(beginnings)]
    ends += [match.end() for match in anywhere.finditer(line)] if not line.isascii() else []
    if not ends or any(map(str.isdigit, line[max(ends) :])):
        return False, False
    return bool(found) and found[-1][0] <= max(ends) >= len(line) - _BESIDE_CHARACTERS, True
