"""Where telephone numbers stand in a text, by the numbering plans of all countries (the `phonenumbers` package).

A number with a country's code is checked by that country's plan. One without is looked for only after a word such as
Tel., where any number will do that looks like one, or in a form that says itself that it is one: with the digit
for long distance, or an area code in brackets, grouped as some country groups its numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, lru_cache
from itertools import product
from typing import Any

from headwater.corpus.personal.find import DATA, Scanned, Span

MIN_DIGITS, MAX_DIGITS = 7, 15  # E.164
_MIN_UNLABELLED_DIGITS = 9
_FILM = re.compile(r"555[ .-]01\d\d$")  # the numbers that films are given
_US = re.compile(r"(?<![\w.+/-])(?:1[ .-])?(?:\([2-9]\d\d\)[ -]?|[2-9]\d\d([.-]))[2-9]\d\d([.-])\d{4}(?![\w-]|\.\d)")
_INTERNATIONAL = re.compile(r"(?<![A-Za-z0-9_+./~=*-])(?:[+\uff0b]|00(?=[1-9]))[^+\uff0b]{7,30}")
# a group and up to three signs: what is one number, or several
_NATIONAL = re.compile(r"[(\uff08]?\d+(?:[^\d+\uff0b]{1,3}\d+)*")
_DATE = re.compile(
    r"(?:19|20)\d\d[ ./-]{1,3}(?:19|20)\d\d\b|\d{1,2}([./-])\d{1,2}\1(?:19|20)\d\d|(?:19|20)\d\d([./-])\d\d\2\d\d\b"
)
# with an area code in brackets, or the zero of long distance; not 02110-1301, as the US's post numbers its streets
_SAYS_ITSELF = re.compile(
    r"(?:\d ?)?[(\uff08]\d[\d ]{1,5}[)\uff09][ -]?\d{2,}(?:[ -]\d{2,})*"
    r"|(?!\d{5}-\d{4}$)0[1-9]\d{0,3}(?:[ -]\d{2,}){1,5}|0[1-9]\d{0,3} ?/ ?\d{4,8}(?:-\d{1,4})?"
)
_BEFORE_CHARACTERS, _BESIDE_CHARACTERS = 40, 9
_WORD = re.compile(r"[^\s\d.,:;()/|*«»\"'<>\[\]{}+=–—\uff1a\uff08\uff09\uff0c\u3001\u3002-]+")
_NUMBER_WORDS = {
    "no",
    "nr",
    "num",
    "n",
    "nº",
    "n°",
    "№",
    "number",
    "nummer",
    "numer",
    "número",
    "numéro",
    "numero",
    "номер",
}
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
_SURE, _MAYBE, _NONE = "beside", "near", "none"


def find_phones(scanned: Scanned) -> Iterator[Span]:
    """Yield where telephone numbers stand, but for those that films are given (555-0100 to 555-0199)."""
    text, last = scanned.text, -_BESIDE_CHARACTERS
    for start, end in scanned.digit_runs(MIN_DIGITS):
        for at, to in _numbers_in(text, start, end, last):
            last = to
            if not _FILM.search(text[at:to]):
                yield at, to


def _numbers_in(text: str, start: int, end: int, last: int) -> Iterator[Span]:
    found = list(_international(text, start, end)) or [match.span() for match in _US.finditer(text, start, end)]
    if found:
        yield from found
        return
    match = _NATIONAL.match(text, start, end)
    before = text[max(start - 1, 0) : start]
    if match is None or before in _JOINED or (before.isalnum() and before.isascii()) or _DATE.match(text, start, end):
        return
    is_list = 0 <= start - last < _BESIDE_CHARACTERS and "\n" not in text[last:start]
    label = _SURE if is_list else _label(text[max(start - _BEFORE_CHARACTERS, 0) : start])
    for to in _ends(text, match.start(), match.end()):
        if _is_national(text[start:to], label) and not _goes_on(text, to):
            yield start, to
            return


_JOINED = {*"+-/._~=#$€£¥%"}


def _goes_on(text: str, end: int) -> bool:
    after = text[end : end + 2]
    return (
        (after[:1].isalnum() and after[:1].isascii())
        or after[:1] in ("-", "_", "%")
        or (after[:1] == "." and after[1:].isdigit())
    )


def _ends(text: str, start: int, end: int) -> list[int]:
    """Return where a number that begins at `start` may end: after each of its groups, the longest of them first."""
    ends, digits = [], 0
    for group in re.finditer(r"\d+", text[start:end]):
        digits += len(group.group())
        if digits > MAX_DIGITS:
            break
        if digits >= MIN_DIGITS:
            ends.append(start + group.end())
    return ends[::-1]


def _international(text: str, start: int, end: int) -> Iterator[Span]:
    for match in _INTERNATIONAL.finditer(text, start, end):
        for to in _ends(text, match.start(), match.end()):
            if not _goes_on(text, to) and _is_of_a_country(match.string[match.start() : to]):
                yield match.start(), to
                break


@lru_cache(maxsize=4096)
def _is_of_a_country(number: str) -> bool:
    """Return whether a number with a country's code is one that the country gives. (0) in it is skipped."""
    import phonenumbers

    digits = "".join(str(int(letter)) for letter in number.replace("(0)", "") if letter.isdigit())
    try:
        parsed = phonenumbers.parse("+" + digits.removeprefix("00"))
    except phonenumbers.NumberParseException:
        return False
    return phonenumbers.is_valid_number(parsed)


@lru_cache(maxsize=4096)
def _is_national(number: str, label: str) -> bool:
    groups = re.findall(r"\d+", number)
    digits = "".join(str(int(letter)) for letter in "".join(groups))
    if label == _SURE:
        return len(groups) > 1 or digits[0] == "0" or len(digits) >= _MIN_UNLABELLED_DIGITS
    if label == _NONE and not (len(digits) >= _MIN_UNLABELLED_DIGITS and _SAYS_ITSELF.fullmatch(number)):
        return False
    return any(_is_of_region(digits, region) for region in _plans().get(tuple(map(len, groups)), ()))


def _is_of_region(digits: str, region: str) -> bool:
    import phonenumbers

    try:
        return phonenumbers.is_valid_number_for_region(phonenumbers.parse(digits, region), region)
    except phonenumbers.NumberParseException:
        return False


@cache
def _plans() -> dict[tuple[int, ...], list[str]]:
    """Return the regions whose numbers are written in groups of these lengths, for all such lengths."""
    import phonenumbers
    from phonenumbers.phonemetadata import PhoneMetadata

    plans: dict[tuple[int, ...], set[str]] = {}
    for region in phonenumbers.SUPPORTED_REGIONS:
        plan: Any = PhoneMetadata.metadata_for_region(region)
        for form in plan.number_format:
            rule = (form.national_prefix_formatting_rule or r"\1").replace("\\", r"\\")
            for written in (form.format, re.sub(r"\\1", rule, form.format, count=1)):
                for lengths in product(*map(_lengths, re.findall(r"\(([\\[\d][^)]*)\)", form.pattern))):
                    parts = re.findall(r"(?:\\?\d)+", written)  # \1 is the first group, a digit by itself the prefix
                    sizes = [
                        sum(lengths[int(each[1]) - 1] if len(each) > 1 else 1 for each in re.findall(r"\\?\d", part))
                        for part in parts
                    ]
                    plans.setdefault(tuple(sizes), set()).add(region)
    return {lengths: sorted(regions) for lengths, regions in plans.items()}


def _lengths(group: str) -> range:
    """Return how many digits a group of a plan's pattern has: d, d{2} or d{2,4}, and digits in it as they are."""
    least = most = 0
    for _, bounds in re.findall(r"(\\d|\[[^\]]*\]|\d)(?:\{(\d+(?:,\d+)?)\})?", group):
        low, _, high = (bounds or "1").partition(",")
        least, most = least + int(low), most + int(high or low)
    return range(least, most + 1)


@cache
def _phone_words() -> tuple[frozenset[str], tuple[str, ...], re.Pattern[str]]:
    """Return the words that numbers stand after: whole ones, beginnings, and those of scripts without spaces."""
    lines = (DATA / "phone_words.txt").read_text(encoding="utf-8").splitlines()
    words = [word for line in lines if not line.startswith("#") for word in line.split()]
    anywhere = [word for word in words if _UNSPACED.match(word)]
    return (
        frozenset(word for word in words if not word.endswith("*")),
        tuple(word[:-1] for word in words if word.endswith("*")),
        re.compile("|".join(map(re.escape, anywhere))),
    )


def _label(before: str) -> str:
    """Return whether a word for a telephone stands immediately before a number, some words before it, or not at all."""
    line = before.rpartition("\n")[2]
    if line[-1:] in _CURRENCIES:
        return _NONE
    words, beginnings, anywhere = _phone_words()
    found = [(match.end(), match.group().lower()) for match in _WORD.finditer(line)]
    while found and found[-1][1] in _NUMBER_WORDS:
        found.pop()
    ends = [end for end, word in found if word in words or word.startswith(beginnings)]
    ends += [match.end() for match in anywhere.finditer(line)] if not line.isascii() else []
    if not ends or any(letter.isdigit() for letter in line[max(ends) :]):
        return _NONE
    is_beside = (found and max(ends) >= found[-1][0]) and len(line) - max(ends) <= _BESIDE_CHARACTERS
    return _SURE if is_beside else _MAYBE


_CURRENCIES = {*"$€£¥₹"}
