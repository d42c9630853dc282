"""Where account, card and social security numbers stand in a text: each has its outward form and its check digits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from headwater.corpus.personal.find import Scanned, Span, listed

_MIN_DIGITS, _IBAN_CHARACTERS = 7, 60
_BEFORE_DIGITS = len("RO00 BANK 1B")  # of an account number: the most before a run of its digits

_SSN = re.compile(r"(?<![\w.-])(?!000|666|9)\d{3}-(?!00)\d\d-(?!0000)\d{4}(?![\w-])")
_SAMPLE_SSN = {"078-05-1120", "219-09-9999", "123-45-6789"}  # printed on cards that were never given to anyone

_CARD = re.compile(
    r"(?<![\w.+-])(?:\d{13,19}|\d{4}([ \u00a0-])\d{4}\1\d{4}\1\d{1,7}|\d{4}([ \u00a0-])\d{6}\2\d{4,5})(?![\w-]|\.\d)"
)
_ISSUER = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}|3[47]\d{13}|"
    r"6(?:011|5\d\d|4[4-9]\d)\d{12}|35(?:2[89]|[3-8]\d)\d{12}|3(?:0[0-5]|[68]\d)\d{11}|62\d{14,17}"
)


def find_social_security_numbers(scanned: Scanned) -> Iterator[Span]:
    """Yield where numbers stand that may be of the US's social security: the areas and groups that exist."""
    text = scanned.text
    for run in scanned.digit_runs(_MIN_DIGITS):
        yield from (match.span() for match in _SSN.finditer(text, *run) if match.group() not in _SAMPLE_SSN)


def find_cards(scanned: Scanned) -> Iterator[Span]:
    """Yield where numbers of payment cards stand: an issuer's prefix and length, grouped as on a card, Luhn's digit."""
    text = scanned.text
    for run in scanned.digit_runs(_MIN_DIGITS):
        for match in _CARD.finditer(text, *run):
            digits = "".join(filter(str.isdecimal, match.group()))
            if _ISSUER.fullmatch(digits) and _luhn(digits) and digits not in listed("sample_cards"):
                yield match.span()


def find_ibans(scanned: Scanned) -> Iterator[Span]:
    """Yield where account numbers stand: a country's letters and its length, a rest of 1 by 97 (ISO 7064)."""
    for start, _ in scanned.digit_runs(_MIN_DIGITS):
        for match in _iban().finditer(scanned.text, max(start - _BEFORE_DIGITS, 0), start + _IBAN_CHARACTERS):
            account = "".join(match.group().split())
            if int("".join(str(int(letter, 36)) for letter in account[4:] + account[:4])) % 97 == 1:
                yield match.span()


@cache
def _iban() -> re.Pattern[str]:
    ends = (f"(?<={entry[:2]}..)(?:[ \u00a0]?[A-Z0-9]){{{int(entry[2:]) - 4}}}" for entry in listed("iban_lengths"))
    return re.compile(rf"[A-Z]{{2}}\d\d(?<![A-Za-z0-9].{{4}})(?:{'|'.join(ends)})(?![A-Za-z0-9])", re.ASCII | re.DOTALL)


def _luhn(digits: str) -> bool:
    values = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits))]
    return sum(value - 9 * (value > 9) for value in values) % 10 == 0
