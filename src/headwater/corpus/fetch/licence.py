"""Under which licence a package's text is, by the package's own papers: an SPDX expression, or "unknown"."""

from __future__ import annotations

import re
from email.message import Message
from email.parser import HeaderParser

from headwater.corpus.fetch.known import PUBLIC_DOMAIN

UNKNOWN = "unknown"

# Debian's short names (copyright-format 1.0) where they aren't SPDX's
_SPDX = {
    "apache-2.0": "Apache-2.0",
    "artistic": "Artistic-1.0-Perl",
    "bsd-2-clause": "BSD-2-Clause",
    "bsd-3-clause": "BSD-3-Clause",
    "cc0-1.0": "CC0-1.0",
    "expat": "MIT",
    "isc": "ISC",
    "mit": "MIT",
    "mpl-2.0": "MPL-2.0",
    "postgresql": "PostgreSQL",
    "psf-2": "PSF-2.0",
    "psf-2.0": "PSF-2.0",
    "zlib": "Zlib",
    "public-domain": PUBLIC_DOMAIN,
}
_VERSIONED = re.compile(r"(a?gpl|lgpl|gfdl|cc-by(?:-sa)?)-(\d+(?:\.\d+)?)(\+?)", re.IGNORECASE)
_CLASSIFIERS = {
    "Public Domain": PUBLIC_DOMAIN,
    "MIT License": "MIT",
    "Apache Software License": "Apache-2.0",
    "CC0 1.0 Universal (CC0 1.0) Public Domain Dedication": "CC0-1.0",
}


def licence_of_copyright(text: str) -> str:
    """Return the licence that a Debian copyright file states for all files (`Files: *`); "unknown" for other papers."""
    paragraphs = [HeaderParser().parsestr(part.strip()) for part in re.split(r"\n[ \t]*\n", text) if part.strip()]
    for paragraph in paragraphs:
        if "*" in str(paragraph.get("Files", "")).split():
            name = str(paragraph.get("License", "")).split("\n")[0].strip()
            return _expression(name) if name else UNKNOWN
    return UNKNOWN


def licence_of_metadata(metadata: Message) -> str:
    """Return the licence that a Python package's metadata states, in any of the three places where it may."""
    expression = str(metadata.get("License-Expression", "")).strip()
    if expression:
        return expression
    short = str(metadata.get("License", "")).strip()
    if short and "\n" not in short and _expression(short) != UNKNOWN:
        return _expression(short)
    classifiers = [str(value).split(" :: ")[-1] for value in metadata.get_all("Classifier", [])]
    return next((_CLASSIFIERS[name] for name in classifiers if name in _CLASSIFIERS), UNKNOWN)


def _expression(names: str) -> str:
    """Return Debian's `A or B`, `A and B` in SPDX's words; "unknown" where one of the names is."""
    parts = re.split(r"\s*,?\s+(or|and|with)\s+", names, flags=re.IGNORECASE)
    found = [part.upper() if at % 2 else _identifier(part) for at, part in enumerate(parts)]
    return UNKNOWN if UNKNOWN in found or "WITH" in found else " ".join(found)


def _identifier(name: str) -> str:
    versioned = _VERSIONED.fullmatch(name)
    if not versioned:
        return _SPDX.get(name.lower(), UNKNOWN)
    family, version, later = versioned.groups()
    number = version if "." in version else f"{version}.0"
    if family.lower().startswith("cc"):
        return f"{family.upper()}-{number}"
    return f"{family.upper()}-{number}-{'or-later' if later else 'only'}"
