"""Dates in ISO's form, out of what stands around them."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime

_DATE = re.compile(r"\b\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])(?!\d)")
_YEAR_FIRST = re.compile(r"\d{4}(?:-(?:0[1-9]|1[0-2]))?(?!\d)")


def iso_date(text: str) -> str:
    """Return the first date of a line, without its time; else the year, or month, that a text begins with; else ""."""
    found = _DATE.search(text[:300]) or _YEAR_FIRST.match(text.strip())
    return found[0] if found else _date_of_mail(text)


def _date_of_mail(text: str) -> str:
    """Return the date of a text in the form of mail and HTTP (RFC 2822), "" of any other."""
    try:
        return parsedate_to_datetime(text[:100]).date().isoformat()
    except (ValueError, OverflowError):
        return ""
