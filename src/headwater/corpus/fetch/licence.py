"""Under which licence a package's text is, by the package's own licence files: an SPDX expression, or "unknown"."""

from __future__ import annotations

import re
from email.message import Message
from email.parser import HeaderParser

from headwater.corpus.protect.licence_texts import licence_of_text
from headwater.sources.spdx import UNKNOWN, gnu_identifier, spdx_of

# Debian's short names (copyright-format 1.0) that say more in Debian than elsewhere
_DEBIAN = {"artistic": "Artistic-1.0-Perl", "psf-2": "PSF-2.0", "postgresql": "PostgreSQL", "go": "BSD-3-Clause"}
_NO_LICENCE = ("OSI Approved", "DFSG approved")  # classifiers that say that there is one, not which
_GNU = re.compile(r"(A?GPL|LGPL|GFDL)-(\d(?:\.\d)?)(\+?)", re.IGNORECASE)


def licence_of_copyright(text: str) -> str:
    """Return the licence that a Debian copyright file states for all files (`Files: *`); "unknown" for others."""
    paragraphs = [HeaderParser().parsestr(part.strip()) for part in re.split(r"\n[ \t]*\n", text) if part.strip()]
    for paragraph in paragraphs:
        if "*" in str(paragraph.get("Files", "")).split():
            name = str(paragraph.get("License", "")).split("\n")[0].strip()
            return _expression(name) if name else UNKNOWN
    return UNKNOWN


def licence_of_metadata(metadata: Message) -> str | None:
    """Return the licence that a Python package's metadata states, in any of the three places where it may.

    "unknown" where what it names isn't understood, None where it names none.
    """
    expression, name = (str(metadata.get(key, "")).strip() for key in ("License-Expression", "License"))
    classifiers = [str(value) for value in metadata.get_all("Classifier", [])]
    return stated_in_metadata(expression, "" if name == "UNKNOWN" else name, classifiers)


def stated_in_metadata(expression: str, name: str, classifiers: list[str]) -> str | None:
    """Return the SPDX expression of a Python package's licence by the three fields in which it may stand.

    None where none of them names one, "unknown" where what they name isn't understood. An expression decides; a name,
    which may be a whole text, goes before classifiers, all of which apply: they say no more than it does.
    """
    if expression:
        return spdx_of(expression) or UNKNOWN
    if name:
        return spdx_of(name) or licence_of_text(name) or UNKNOWN
    listed = [each.split(" :: ")[-1].strip() for each in classifiers if each.startswith("License ::")]
    known = [spdx_of(each) for each in dict.fromkeys(listed) if each not in _NO_LICENCE]
    if not known or None in known:
        return UNKNOWN if known else None
    return " AND ".join(dict.fromkeys(each for each in known if each is not None))


def _expression(names: str) -> str:
    """Return Debian's `A or B`, `A and B` in SPDX's words; "unknown" where one of the names is."""
    parts = re.split(r"\s*,?\s+(or|and)\s+", names, flags=re.IGNORECASE)
    found = [part.upper() if at % 2 else _identifier(part) for at, part in enumerate(parts)]
    return UNKNOWN if UNKNOWN in found else " ".join(found)


def _identifier(name: str) -> str:
    if gnu := _GNU.fullmatch(name):
        return gnu_identifier(gnu[1], gnu[2], or_later=bool(gnu[3]))
    return _DEBIAN.get(name.lower()) or spdx_of(name) or UNKNOWN
