"""Where account, card and social security numbers stand in a text: each has its outward form and its check digits."""

from __future__ import annotations

import re
from collections.abc import Iterator

from headwater.corpus.personal.find import Scanned, Span

_MIN_DIGITS = 7

_SSN = re.compile(r"(?<![\w.-])(?!000|666|9)\d{3}-(?!00)\d\d-(?!0000)\d{4}(?![\w-])")
_SAMPLE_SSN = {"078-05-1120", "219-09-9999", "123-45-6789"}  # printed on cards that were never given to anyone

_CARD = re.compile(
    r"(?<![\w.+-])(?:\d{13,19}|\d{4}([ -])\d{4}\1\d{4}\1\d{1,7}|\d{4}([ -])\d{6}\2\d{4,5})(?![\w-]|\.\d)"
)
_ISSUER = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}|3[47]\d{13}|"
    r"6(?:011|5\d\d|4[4-9]\d)\d{12}|35(?:2[89]|[3-8]\d)\d{12}|3(?:0[0-5]|[68]\d)\d{11}|62\d{14,17}"
)
# what the issuers' own handbooks tell programmers to try
_SAMPLE_CARDS_TEXT = (
    "4111111111111111 4242424242424242 4012888888881881 4222222222222 4000056655665556 5555555555554444 "
    "5105105105105100 2223003122003222 378282246310005 371449635398431 6011111111111117 6011000990139424 "
    "3530111333300000 30569309025904 38520000023237 3566002020360505"
)
_SAMPLE_CARDS = frozenset(_SAMPLE_CARDS_TEXT.split())

_BEFORE_DIGITS = 14  # of an account number: GB00 BANK, then a run of digits
_IBAN_CHARACTERS = 60
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d\d(?:[ \u00a0]?[A-Z0-9]){11,30}")
# characters of an account number by country: SWIFT's IBAN registry
_IBAN_LENGTHS = (
    "NO15 BE16 DK18 FI18 FO18 GL18 NL18 MK19 SI19 AT20 BA20 EE20 KZ20 LT20 LU20 XK20 CH21 HR21 LI21 LV21 BG22 BH22 "
    "CR22 DE22 GB22 GE22 IE22 ME22 RS22 VA22 AE23 GI23 IL23 IQ23 TL23 AD24 CZ24 ES24 MD24 PK24 RO24 SA24 SE24 SK24 "
    "TN24 VG24 LY25 PT25 ST25 IS26 TR26 FR27 GR27 IT27 MC27 MR27 SM27 AL28 AZ28 BY28 CY28 DO28 GT28 HU28 LB28 PL28 "
    "SV28 BR29 EG29 PS29 QA29 UA29 JO30 KW30 MU30 MT31 SC31 LC32"
)
_LENGTH_OF = {entry[:2]: int(entry[2:]) for entry in _IBAN_LENGTHS.split()}


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
            digits = match.group().replace(" ", "").replace("-", "")
            if _ISSUER.fullmatch(digits) and _luhn(digits) and digits not in _SAMPLE_CARDS:
                yield match.span()


def find_ibans(scanned: Scanned) -> Iterator[Span]:
    """Yield where account numbers stand: a country's letters and its length, a rest of 1 by 97 (ISO 7064)."""
    text, at = scanned.text, 0
    for start, _ in scanned.digit_runs(_MIN_DIGITS):
        at = max(start - _BEFORE_DIGITS, at)
        while (match := _IBAN.search(text, at, start + _IBAN_CHARACTERS)) and match.start() <= start:
            end = _end_of_iban(text, match)
            at = end or match.start() + 1
            if end:
                yield match.start(), end


def _end_of_iban(text: str, match: re.Match[str]) -> int | None:
    length = _LENGTH_OF.get(match.group()[:2])
    end = _end_of_characters(match, length) if length else None
    if end is None or (end < len(text) and text[end].isalnum()):
        return None
    account = "".join(text[match.start() : end].split())
    return end if int("".join(str(int(letter, 36)) for letter in account[4:] + account[:4])) % 97 == 1 else None


def _end_of_characters(match: re.Match[str], count: int) -> int | None:
    """Return where the first `count` characters of a match that aren't spaces end, or None where there are fewer."""
    for at, letter in enumerate(match.group()):
        count -= not letter.isspace()
        if count == 0:
            return match.start() + at + 1
    return None


def _luhn(digits: str) -> bool:
    values = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits))]
    return sum(value - 9 * (value > 9) for value in values) % 10 == 0 and len(set(digits)) > 2
