"""Where numbers of bank accounts (IBAN) and of payment cards stand in a text: both have lengths and check digits.

Those that manuals print for everybody to try stay, as other examples do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from headwater.corpus.step import Span
from headwater.corpus.toml_tables import listed

_IBAN_BEGIN = re.compile(r"[A-Z]{2}[0-9]{2}(?<![A-Za-z0-9].{4})(?=[ \u00a0-]?[A-Z0-9])", re.DOTALL)

# as on a card, in fours or as American Express and Diners divide theirs, or without spaces; no part of an address, and
# no part of a row of figures, but an expiry date may follow
_CARD = re.compile(
    r"[2-6](?<![\w.+/-].)(?<!\d{4}[ \u00a0].)"
    r"(?:\d{13,18}|\d{3}([ \u00a0-])\d{4}\1\d{4}\1\d{4}(?:\1\d{3})?|\d{3}([ \u00a0-])\d{6}\2\d{4,5})"
    r"(?![\w-]|[.,/]\d|[ \u00a0]\d{1,3}\b(?!/)|[ \u00a0]\d{4}[ \u00a0]\d)",
    re.DOTALL | re.ASCII,
)
# Visa, Mastercard, American Express, Discover, JCB, Diners, UnionPay, Mir; not old Visas' 13 digits, as EANs have
_ISSUER = re.compile(
    r"4(?:\d{15}|\d{18})|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}|3[47]\d{13}"
    r"|6(?:011|5\d\d|4[4-9]\d)\d{12}|35(?:2[89]|[3-8]\d)\d{12}|3(?:0[0-5]|[689]\d)\d{11}|62\d{14,17}|220[0-4]\d{12}"
)


def find_ibans(text: str) -> Iterator[Span]:
    """Yield where an IBAN stands: of its country's length, and 1 modulo 97 (ISO 7064)."""
    for begin in _IBAN_BEGIN.finditer(text):
        rest = _ibans_of(begin.group()[:2])
        if (match := rest and rest.match(text, begin.start())) and _is_iban(match.group()):
            yield match.span()


@cache
def _ibans_of(country: str) -> re.Pattern[str] | None:
    lengths = {entry[:2]: int(entry[2:]) for entry in listed("headwater.corpus.personal", "iban_lengths")}
    if country not in lengths:
        return None
    return re.compile(rf"[A-Z0-9](?:[ \u00a0-]?[A-Z0-9]){{{lengths[country] - 1}}}(?![A-Za-z0-9])")


def _is_iban(text: str) -> bool:
    account = "".join(filter(str.isalnum, text))
    is_sample = account in listed("headwater.corpus.personal", "sample_accounts")
    return not is_sample and int("".join(str(int(each, 36)) for each in account[4:] + account[:4])) % 97 == 1


def find_cards(text: str) -> Iterator[Span]:
    """Yield where the number of a payment card stands: an issuer's prefix and length, and Luhn's check digit."""
    for match in _CARD.finditer(text):
        digits = "".join(filter(str.isdigit, match.group()))
        is_sample = digits in listed("headwater.corpus.personal", "sample_accounts")
        if _ISSUER.fullmatch(digits) and _has_luhn_digit(digits) and not is_sample:
            yield match.span()


def _has_luhn_digit(digits: str) -> bool:
    doubled = (divmod(2 * int(digit), 10) for digit in digits[-2::-2])
    return (sum(map(sum, doubled)) + sum(map(int, digits[::-2]))) % 10 == 0
