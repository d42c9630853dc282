"""Which licences a text states: a licence's own wording, or the notice that puts a file under one.

Licences are told apart by short phrases that stand in one and not in the others, compared as bare words, so that line
breaks, quotes and case make no difference. Of the GNU family the title and the notice are read, with the version.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from headwater.corpus.protect.bare_words import bare_words
from headwater.sources.spdx import (
    PUBLIC_DOMAIN,
    UNKNOWN,
    all_of,
    canonical,
    commons_identifier,
    gnu_identifier,
    is_expression,
)

MAX_CHARACTERS = 1_000_000  # of a text that is looked at; more may say more
_HEAD_CHARACTERS = 6000
_TAG = re.compile(r"SPDX-License-Identifier:[ \t]{0,4}([A-Za-z0-9(][A-Za-z0-9 ().+-]{0,201})")
_MAX_TAG_CHARACTERS = 201
_GO_ON = ("AND", "OR", "WITH")  # with something that isn't understood


@dataclass(frozen=True, slots=True)
class _Mark:
    """A licence is stated where every phrase of `has` stands and none of `lacks`."""

    identifier: str
    has: tuple[str, ...]
    lacks: tuple[str, ...] = ()


_GRANT = "permission is hereby granted free of charge to any person obtaining a copy"
_KEEP_NOTICE = "copyright notice and this permission notice"
_REDISTRIBUTE = "redistribution and use in source and binary forms"
_ADVERTISE = "advertising materials mentioning features"
_ENDORSE = "endorse or promote products"
_ANY_PURPOSE = "for any purpose with or without fee is hereby granted"
_WITHOUT_FEE = "and without fee is hereby granted"

_MARKS = [
    _Mark("MIT", (_GRANT, _KEEP_NOTICE), ("except as contained in this notice",)),
    _Mark("MIT-0", (_GRANT,), (_KEEP_NOTICE, "except as contained in this notice", "free software foundation",
                               "font software", "data files")),
    _Mark("X11", (_GRANT, _KEEP_NOTICE, "except as contained in this notice"), ("haxx", "university of illinois")),
    _Mark("NCSA", (_GRANT, "deal with the software without restriction")),
    _Mark("BSD-4-Clause", (_REDISTRIBUTE, _ADVERTISE)),
    _Mark("BSD-3-Clause", (_REDISTRIBUTE, _ENDORSE), (_ADVERTISE, "zope", "apache software license")),
    _Mark("BSD-3-Clause", (_REDISTRIBUTE, "may be used to endorse"), (_ADVERTISE, _ENDORSE)),
    _Mark("BSD-2-Clause", (_REDISTRIBUTE,), (_ADVERTISE, _ENDORSE, "may be used to endorse", "apache", "openldap")),
    _Mark("OLDAP-2.8", ("openldap public license version 2 8",)),
    _Mark("ISC", (_ANY_PURPOSE, "provided that the above copyright notice and this permission notice appear"),
          ("except as contained in this notice",)),
    _Mark("curl", (_ANY_PURPOSE, "except as contained in this notice", "provided that the above copyright notice")),
    _Mark("0BSD", (_ANY_PURPOSE,), ("provided that",)),
    _Mark("HPND", (_WITHOUT_FEE, "provided that"), ("with or without fee", "university of california")),
    _Mark("Apache-2.0", ("apache license version 2 0",)),
    _Mark("Apache-2.0", ("apache org licenses license 2 0",), ("apache license version 2 0",)),
    _Mark("Apache-2.0", ("common licenses apache 2 0",), ("apache license version 2 0",)),
    _Mark("MPL-2.0", ("mozilla public license version 2 0",)),
    _Mark("MPL-2.0", ("mozilla public license v 2 0",), ("mozilla public license version 2 0",)),
    _Mark("MPL-1.1", ("mozilla public license version 1 1",)),
    _Mark("EPL-1.0", ("eclipse public license v 1 0",)),
    _Mark("EPL-2.0", ("eclipse public license v 2 0",)),
    _Mark("CDDL-1.0", ("common development and distribution license cddl version 1 0",)),
    _Mark("EUPL-1.2", ("european union public licence v 1 2",)),
    _Mark("BSL-1.0", ("boost software license version 1 0",)),
    _Mark("BSL-1.0", ("obtaining a copy of the software and accompanying documentation covered by this license",),
          ("boost software license version 1 0",)),
    _Mark("Zlib", ("in no event will the authors be held liable", "altered source versions must be plainly marked")),
    _Mark("PSF-2.0", ("python software foundation license version 2",)),
    _Mark("PSF-2.0", ("psf license agreement for python",), ("python software foundation license version 2",)),
    _Mark("CNRI-Python", ("cnri open source license agreement",)),
    _Mark("Artistic-2.0", ("the artistic license 2 0",)),
    _Mark("Artistic-1.0-Perl", ("the artistic license", "preamble"), ("the artistic license 2 0",)),
    _Mark("Artistic-1.0-Perl", ("terms of the artistic license",), ("preamble", "the artistic license 2 0")),
    _Mark("Unlicense", ("this is free and unencumbered software released into the public domain",)),
    _Mark("WTFPL", ("do what the fuck you want to public license",)),
    _Mark("OFL-1.1", ("sil open font license version 1 1",)),
    _Mark("CC0-1.0", ("cc0 1 0 universal",)),
    _Mark("CC0-1.0", ("creativecommons org publicdomain zero 1 0",), ("cc0 1 0 universal",)),
    _Mark("CC0-1.0", ("affirmer hereby overtly fully permanently irrevocably and unconditionally waives",)),
    _Mark("Beerware", ("the beer ware license",)),
    _Mark("FSFUL", ("unlimited permission to copy distribute and modify it",)),
    _Mark("FSFULLR", ("unlimited permission to copy and or distribute it with or without modifications",)),
    _Mark("FSFAP", ("copying and distribution of this file with or without modification are permitted in any medium",)),
    _Mark("FTL", ("the freetype project license",)),
    _Mark("ImageMagick", ("imagemagick", "studio llc"), ("apache license",)),
    _Mark("Unicode-DFS-2016", ("unicode inc license agreement data files and software",)),
    _Mark("ZPL-2.1", ("zope public license zpl version 2 1",)),
    _Mark("Apache-1.1", ("the apache software license version 1 1",)),
    _Mark("Vim", ("vim license",)),
    _Mark("Ruby", ("you may modify your copy of the software in any way provided that you do at least one",)),
    _Mark(PUBLIC_DOMAIN, ("placed in the public domain",)),
    _Mark(PUBLIC_DOMAIN, ("released into the public domain",), ("free and unencumbered",)),
    _Mark(PUBLIC_DOMAIN, ("released to the public domain",)),
    _Mark(PUBLIC_DOMAIN, ("is in the public domain",),
          ("placed in the public", "cc0 1 0 universal", "free and unencumbered", "creative commons")),
    _Mark(PUBLIC_DOMAIN, ("dedicated to the public domain",)),
    _Mark(PUBLIC_DOMAIN, ("public domain", "no license required for any purpose")),
]  # fmt: skip

_NAME = r"gnu (?P<family>(?:lesser |library |affero )?general public|free documentation) licen[sc]e"
_MONTH = "january|february|march|june|november"
_TITLE = re.compile(rf"{_NAME} version (?P<version>\d)(?: (?P<minor>\d))? (?:\d\d? )?(?:{_MONTH}) \d{{4}}")
_LATER = r"(?P<later> or (?:at your (?:option|discretion) )?(?:any )?(?:later|newer|greater|higher))?"
_VERSION = r"(?:version|v) ?(?P<version>\d)(?: (?P<minor>\d))?(?: dated \w+ \d{4})?(?: of the licen[sc]e)?"
_PUBLISHED = r"(?: gpl| lgpl)?(?: (?:\w+ )?(?:as )?published by the free software foundation(?: inc)?)?"
_NOTICES = [
    re.compile(rf"{_NAME}{_PUBLISHED}(?: either| in| only)? {_VERSION}{_LATER}"),
    re.compile(rf"{_VERSION}{_LATER}(?: version)? of the {_NAME}"),
]
# where Debian keeps the texts that many packages are under
_POINTER = re.compile(r"common licenses (?P<family>lgpl|gpl|gfdl) (?P<version>\d)(?: (?P<minor>\d))?")
_UNVERSIONED = re.compile(rf"(?:terms of|under) the {_NAME}")
_COMMONS = re.compile(
    r"creative commons (?:legal code )?attribution"
    r"(?P<more>(?: noncommercial| non commercial| noderivatives| noderivs| sharealike| share alike)*) "
    r"(?P<version>\d) 0(?! license is)"
)
_COMMONS_ADDRESS = re.compile(r"creativecommons org licenses (?P<more>by(?: nc)?(?: nd| sa)?) (?P<version>\d) 0")
_CHOICE = re.compile(
    r"\b(?:either of|dual licen|dually licen|at your option under|alternatively|disjunction of|your choice)\b"
)


def licence_tag(text: str, num_lines: int) -> str | None:
    """Return the expression after SPDX-License-Identifier in the first lines of a file, None where there is no tag.

    Of several tags all apply; "unknown" where what one of them names isn't understood.
    """
    head = "\n".join(text[:_HEAD_CHARACTERS].split("\n")[:num_lines])
    found = [_tagged(match[1]) for match in _TAG.finditer(head)]
    return (UNKNOWN if UNKNOWN in found else all_of(found)) if found else None


def _tagged(text: str) -> str:
    """Return the expression that a text begins with, the longest there is: a comment may follow it."""
    words = text.split() if len(text) <= _MAX_TAG_CHARACTERS else []
    for count in range(len(words), 0, -1):
        if is_expression(" ".join(words[:count])):
            goes_on = words[count : count + 1]
            return UNKNOWN if goes_on and goes_on[0].upper() in _GO_ON else canonical(" ".join(words[:count]))
    return UNKNOWN


def licence_of_head(text: str) -> str | None:
    """Return the expression of the notice at the head of a source file, None where it has none that is known."""
    return licence_of_text(text[:_HEAD_CHARACTERS])


def licence_of_text(text: str) -> str | None:
    """Return the expression of the licences that a text states, None where none is known.

    Several are joined by AND, or by OR where the text speaks of a choice. A GNU licence's own text doesn't say
    whether later versions may be used; it is taken for that version only. Of a text longer than MAX_CHARACTERS none
    is known.
    """
    if len(text) > MAX_CHARACTERS:
        return None
    words = b" ".join(bare_words(text)).decode()
    found = [mark.identifier for mark in _MARKS if _stands(mark, words)]
    found += _gnu(words, bool(found)) + ([] if _TITLE.search(words) else _commons(words))
    found = list(dict.fromkeys(found))
    if not found:
        return None
    return (" OR " if _CHOICE.search(words) else " AND ").join(found)


def _stands(mark: _Mark, words: str) -> bool:
    return all(phrase in words for phrase in mark.has) and not any(phrase in words for phrase in mark.lacks)


def _gnu(words: str, others_are_found: bool) -> list[str]:
    """Return the GNU licences named; one without its version only where no other licence is found beside it."""
    if "mozilla public license" in words and "secondary license" in words:
        return []  # Mozilla's own text names GNU's
    title = _TITLE.search(words)
    if title is not None:  # the licence itself, which speaks of its sisters and of later versions
        return [gnu_identifier(title["family"], _number(title), or_later=False)]
    found = [
        gnu_identifier(match["family"], _number(match), bool(match["later"]))
        for pattern in _NOTICES
        for match in pattern.finditer(words)
    ]
    if not found and not others_are_found and (pointer := _POINTER.search(words)):
        found = [gnu_identifier(pointer["family"], _number(pointer), or_later=False)]
    if not found and not others_are_found and (unversioned := _UNVERSIONED.search(words)):
        first = {"free documentation": "1.1", "general public": "1"}.get(unversioned["family"], "2")
        found = [gnu_identifier(unversioned["family"], first, or_later=True)]
    later = {identifier for identifier in found if identifier.endswith("-or-later")}
    return [each for each in found if each.replace("-only", "-or-later") not in later or each in later]


def _number(match: re.Match[str]) -> str:
    return match["version"] + (f".{match['minor']}" if match["minor"] else "")


def _commons(words: str) -> list[str]:
    return [
        commons_identifier(match["more"], f"{match['version']}.0")
        for pattern in (_COMMONS, _COMMONS_ADDRESS)
        for match in pattern.finditer(words)
    ]
