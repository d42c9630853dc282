"""Dates as people write them, in ISO's form."""

from __future__ import annotations

import re
from datetime import date

_NAMES = "january february march april may june july august september october november december"
_MONTHS = _NAMES.split()
_ISO = re.compile(r"\b(\d{4})-(\d{2})-(\d{2})(?!\d)")
_YEAR_FIRST = re.compile(r"\d{4}(?:-(?:0[1-9]|1[0-2]))?(?!\d)")
_ISO_WHOLE = re.compile(r"\d{4}(?:-(?:0[1-9]|1[0-2])(?:-(?:0[1-9]|[12]\d|3[01])(?:T[0-9:.,+Z-]{2,30})?)?)?")
_MONTH = "|".join(rf"{month}|{month[:3]}\b\.?" for month in _MONTHS) + r"|sept\b\.?"
_MONTH_FIRST = re.compile(rf"\b({_MONTH})[ ,]+(?:(\d{{1,2}})(?:st|nd|rd|th)?[ ,]+)?(\d{{4}})\b", re.IGNORECASE)
_DAY_FIRST = re.compile(rf"\b(\d{{1,2}})(?:st|nd|rd|th)?[ .]+({_MONTH})[ ,]+(\d{{4}})\b", re.IGNORECASE)


def iso_date_or_time(text: str) -> str:
    """Return a date that is in ISO's form with its time, if it has one behind a T, or the first date of a line.

    Of "June 25, 2008", "25 June 2008" and "March, 1994" that is 2008-06-25 and 1994-03; "" where there is no date.
    What is in numbers alone is read as ISO's.
    """
    if _ISO_WHOLE.fullmatch(text):
        return text
    text = text[:300]
    if found := _ISO.search(text):
        return _written(found[1], found[2], found[3])
    if found := _DAY_FIRST.search(text):
        return _written(found[3], _number(found[2]), found[1])
    if found := _MONTH_FIRST.search(text):
        return _written(found[3], _number(found[1]), found[2])
    return ""


def iso_date(text: str) -> str:
    """Return the date of `iso_date_or_time` without its time; else the year, or month, that a text begins with."""
    text = text.strip()
    date_or_time = iso_date_or_time(text)
    if date_or_time:
        return date_or_time[:10]
    found = _YEAR_FIRST.match(text)
    return found[0] if found else ""


def _number(month: str) -> str:
    return str(next(at for at, name in enumerate(_MONTHS, start=1) if name.startswith(month.lower()[:3])))


def _written(year: str, month: str, day: str | None) -> str:
    try:
        return date(int(year), int(month), int(day or 1)).isoformat()[: None if day else 7]
    except ValueError:
        return ""
