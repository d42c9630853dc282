"""Dates in ISO's form, out of what stands around them."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime

_DATE = re.compile(r"\b\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])(?!\d)")
_YEAR_FIRST = re.compile(r"\d{4}(?:-(?:0[1-9]|1[0-2]))?(?!\d)")
_WITH_TIME = re.compile(rf"(?:{_DATE.pattern}T[0-9:.,+Z-]{{2,30}}|{_YEAR_FIRST.pattern})")


def iso_date_or_time(text: str) -> str:
    """Return a text that is a date with its time behind a T, a year, a month; else the first date of a line, or ""."""
    if _WITH_TIME.fullmatch(text):
        return text
    found = _DATE.search(text[:300])
    return found[0] if found else _date_of_mail(text)


def iso_date(text: str) -> str:
    """Return the date of `iso_date_or_time` without its time; else the year, or month, that a text begins with."""
    found = _DATE.search(text[:300]) or _YEAR_FIRST.match(text.strip())
    return found[0] if found else _date_of_mail(text)


def _date_of_mail(text: str) -> str:
    """Return the date of a text in the form of mail and HTTP (RFC 2822), "" of any other."""
    try:
        return parsedate_to_datetime(text[:100]).date().isoformat()
    except (ValueError, OverflowError):
        return ""
