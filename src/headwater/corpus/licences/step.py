"""Every document's licence, and what isn't allowed dropped.

What stands nearest to a text counts: a tag at its head; what its page, book, package or tree says; what the run file
says of its source; and else it is unknown. A notice at the head of code applies beside that of its tree, and in its
place where there is none.
So it is, too, where the nearest names a licence that isn't understood ("All rights reserved"): what is said farther
off is of those that name none. The name stays beside the document, as `licence_named`, for a licence file the file's.
Only the first section of a long file has its head: the others go by what comes next.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from headwater.corpus.document import Document
from headwater.corpus.licences.heads import licence_of_head
from headwater.corpus.licences.names import all_of, spdx_of
from headwater.corpus.sources.settings import CorpusSettings, SourceSettings
from headwater.corpus.sources.spdx import UNKNOWN, allowed_patterns, canonical, is_allowed
from headwater.corpus.step import Candidate, Step, Verdict

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
REASON = "licence_not_allowed"
_TAGGED_LINES = 3  # of a text that is no code: further down it may speak of tags
_TAGGED_CODE_LINES = 60
_TAG_NAMED, _MAX_NAMED_CHARACTERS = "SPDX-License-Identifier", 100


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


def licence_step(settings: CorpusSettings) -> Step:
    """Return the step that writes `licence` beside each document; which are allowed is decided later."""
    declared = {name: declared_licence(source) for name, source in settings.sources.items()}

    def step(candidate: Candidate) -> Verdict:
        document = candidate.document
        licence, named = licence_of(document, declared[document.source])
        found = {"licence": licence} | ({"licence_named": named} if named else {})
        if document.meta.items() >= found.items():
            return Verdict(candidate)
        return Verdict(candidate.with_text(document.text, **found))

    return step


def allowed_licences(licences: Iterable[str], allow: Sequence[str]) -> list[str]:
    """Return which of some licences `corpus.licences.allow` allows."""
    patterns = allowed_patterns(allow)
    return [each for each in licences if (UNKNOWN in allow if each == UNKNOWN else is_allowed(each, patterns))]


def declaring_step(settings: CorpusSettings) -> Step:
    """Return the step that writes what the run file says of a source beside documents that name no licence.

    For a corpus whose licences aren't found out: nothing is looked for in the texts, and nothing is dropped.
    """
    declared = {name: spdx_of(source.licence or "") for name, source in settings.sources.items()}

    def step(candidate: Candidate) -> Verdict:
        document = candidate.document
        licence = declared[document.source]
        if licence is None or document.meta.get("licence"):
            return Verdict(candidate)
        return Verdict(candidate.with_text(document.text, licence=licence))

    return step


def declared_licence(source: SourceSettings) -> str:
    """Return the licence that the run file gives a source, or "unknown"."""
    return (source.licence and spdx_of(source.licence)) or UNKNOWN


def licence_of(document: Document, declared: str) -> tuple[str, str]:
    """Return the SPDX expression of a document's licence, or "unknown", and the name that isn't understood, or ""."""
    is_code = document.kind == "code"
    tagged = licence_tag(document.text, _TAGGED_CODE_LINES if is_code else _TAGGED_LINES)
    if tagged is not None:
        return tagged, _TAG_NAMED if tagged == UNKNOWN else ""
    head = licence_of_head(document.text) if is_code else None
    written = document.meta.get("licence", "").strip()
    beside = spdx_of(written) or UNKNOWN if written else None
    if UNKNOWN in (head, beside):  # by a licence file, by a name too long to be one, or by a head that takes back
        named = "" if beside != UNKNOWN else document.meta.get("licence_named", "") if written == UNKNOWN else written
        return UNKNOWN, named[:_MAX_NAMED_CHARACTERS]
    found = [each for each in (beside, head) if each is not None]
    if not found and (reserves_all_rights(document.text) if is_code else restricts_use(document.text)):
        return UNKNOWN, "All rights reserved"
    return (all_of(found), "") if found else (declared, "")
