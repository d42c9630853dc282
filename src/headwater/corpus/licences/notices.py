"""What the head of a file says in so many words: a tag of SPDX, rights reserved, use restricted."""

from __future__ import annotations

import re

from headwater.corpus.licences.names import all_of
from headwater.corpus.sources.spdx import UNKNOWN, canonical

_HEAD_CHARACTERS = 6000
_TAG = re.compile(r"SPDX-License-Identifier:[ \t]{0,4}([A-Za-z0-9(][A-Za-z0-9 ().+-]{0,201})")
_MAX_TAG_CHARACTERS = 201
_GO_ON = ("AND", "OR", "WITH")  # with something that isn't understood
_RESERVED = re.compile(r"\ball rights reserved\b", re.IGNORECASE)
_FREE_BEFORE = 1930
_YEAR = r"\b1[5-9]\d\d\b|\b20\d\d\b"
# rights reserved behind a sign of copyright there or in the line above, or where a line begins, with the years before
# either; or use restricted
_RESTRICTIVE = re.compile(
    rf"(?:(?:{_YEAR})\W{{1,4}}){{0,4}}"
    r"(?:(?:©|\(c\)|\bcopyright\b)[^\n]{0,280}?(?:\n[^\n]{0,80}?)?|^[ \t#/*;.\"'-]*)\ball rights reserved\b"
    r"|\b(?:for|permit(?:s|ted)|allow(?:s|ed)|only|licen[sc]ed?)\b[^.\n]{0,60}\bnon-?commercial(?:ly)?\b[^.\n]{0,40}"
    r"\b(?:use|purposes|only|licen[sc]e)\b"
    r"|\b(?:copying|reproduction|redistribution)\b[^.\n]{0,60}\b(?:prohibited|forbidden|not permitted)\b",
    re.IGNORECASE | re.MULTILINE,
)


def licence_tag(text: str, num_lines: int) -> str | None:
    """Return the expression after SPDX-License-Identifier in the first lines of a file, None where there is no tag.

    Of several tags all apply; "unknown" where what one of them names isn't understood.
    """
    head = "\n".join(text[:_HEAD_CHARACTERS].split("\n")[:num_lines])
    found = list(dict.fromkeys(_tagged(match[1]) for match in _TAG.finditer(head)))
    return all_of(found) or None


def _tagged(text: str) -> str:
    """Return the expression that a text begins with, the longest there is: a comment may follow it."""
    words = text.rstrip(" .").split() if len(text) <= _MAX_TAG_CHARACTERS else []
    for count in range(len(words), 0, -1):
        if (found := canonical(" ".join(words[:count]))) is not None:
            goes_on = words[count : count + 1]
            return UNKNOWN if goes_on and goes_on[0].upper() in _GO_ON else found
    return UNKNOWN


def reserves_all_rights(text: str) -> bool:
    """Return whether the head of a source file says so: beside a licence that is usual, without one it refuses all."""
    return _RESERVED.search(text, 0, _HEAD_CHARACTERS) is not None


def restricts_use(text: str) -> bool:
    """Return whether a notice at the head of prose reserves all rights, or allows non-commercial use alone.

    What was printed before 1930, when every book did so, is no notice of today.
    """
    for notice in _RESTRICTIVE.finditer(text[:_HEAD_CHARACTERS]):
        years = [int(year) for year in re.findall(_YEAR, notice.group())]
        if not years or max(years) >= _FREE_BEFORE:
            return True
    return False
