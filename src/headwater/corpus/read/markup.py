"""What reStructuredText and AsciiDoc say of themselves at their head: title, author, date, language."""

from __future__ import annotations

import re
from pathlib import PurePath

from headwater.corpus.read.dates import iso_date
from headwater.corpus.read.html_metadata import language_of
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.limits import Unusable
from headwater.corpus.read.text import encoding_of
from headwater.sources.formats import without_compression

_HEAD_BYTES = 10_000
_MAX_LINES = 120
_RULE = re.compile(r"([!-/:-@\[-`{-~])\1{2,}")
_FIELD = re.compile(r":([A-Za-z][\w -]{0,40}):(?:[ \t]+(.*))?")
_COMMENT = re.compile(r"\.\.(?: |$)")
_ASCIIDOC_TITLE = re.compile(r"[=#][ \t]+(\S.*)")
_AUTHOR = re.compile(r"([^\d\s<:.*][^<:*]{0,100}?)[ \t]*(?:<[^>]{1,100}>)?")
_REVISION = re.compile(r"v?\d[\w.]*,|\d{4}-\d{2}-\d{2}")
_KEYS = {
    **{"author": "author", "authors": "author", "date": "date", "revdate": "date", "published": "date"},
    **{"lang": "language", "language": "language", "title": "title", "doctitle": "title"},
}


def markup_metadata(file: InputFile) -> dict[str, str]:
    """Return what the head of a file says of it; nothing where its name is of neither format, or it is damaged."""
    suffix = PurePath(without_compression(file.path.name)).suffix.lower()
    read = {".rst": rst_metadata, ".adoc": asciidoc_metadata, ".asciidoc": asciidoc_metadata}.get(suffix)
    if read is None:
        return {}
    try:
        head = file.head(_HEAD_BYTES)
    except Unusable:
        return {}
    lines = head.decode(encoding_of(head), "replace").splitlines()
    return read([line.rstrip()[:500] for line in lines[:_MAX_LINES]])


def rst_metadata(lines: list[str]) -> dict[str, str]:
    """Return the first title, and the fields of the list of fields behind it (or before it, as Sphinx has it)."""
    fields: dict[str, str] = {}
    title = ""
    at = 0
    while at < len(lines):
        line, following = lines[at], lines[at + 1] if at + 1 < len(lines) else ""
        if field := _FIELD.fullmatch(line):
            fields.setdefault(field[1].lower(), field[2] or "")
        elif not title and _is_over(line, following, lines[at + 2 : at + 3]):
            title, at = following.strip(), at + 2
        elif not title and line[:1].strip() and not _COMMENT.match(line) and _is_rule_of(following, line):
            title, at = line.strip(), at + 1
        elif _is_paragraph(line):
            break
        at += 1
    return _said({"title": title, **{name: value for name, value in fields.items() if name != "title"}})


def _is_paragraph(line: str) -> bool:
    return bool(line[:1].strip()) and not _COMMENT.match(line) and not _RULE.fullmatch(line)


def _is_over(line: str, title: str, below: list[str]) -> bool:
    return below == [line] and bool(_RULE.fullmatch(line)) and 0 < len(title.strip()) <= len(line)


def _is_rule_of(line: str, title: str) -> bool:
    return bool(_RULE.fullmatch(line)) and not _RULE.fullmatch(title) and len(line) >= len(title)


def asciidoc_metadata(lines: list[str]) -> dict[str, str]:
    """Return what the header says: the title, the lines of author and revision below it, and attributes."""
    fields: dict[str, str] = {}
    place = 0  # lines below the title
    for line in lines:
        if line.startswith("//"):
            continue
        if field := _FIELD.fullmatch(line):
            fields.setdefault(field[1].lower(), field[2] or "")
        elif "doctitle" not in fields and (title := _ASCIIDOC_TITLE.fullmatch(line)):
            fields["doctitle"] = title[1]
        elif "doctitle" not in fields and not line:
            continue
        elif place == 0 and "doctitle" in fields and _are_authors(line):
            fields.setdefault("author", "; ".join(_name(part) for part in line.split(";")))
            place = 1
        elif place == 1 and _REVISION.match(line):
            fields.setdefault("revdate", line)
            place = 2
        else:
            break  # of the header
    return _said(fields)


def _are_authors(line: str) -> bool:
    return all(_AUTHOR.fullmatch(part.strip()) for part in line.split(";"))


def _name(author: str) -> str:
    return author.partition("<")[0].strip()


def _said(fields: dict[str, str]) -> dict[str, str]:
    meta: dict[str, str] = {}
    for name, value in fields.items():
        ours = _KEYS.get(name)
        if ours == "date":
            value = iso_date(value)
        elif ours == "language":
            value = language_of(value) or ""
        elif ours == "author":
            value = _name(value)
        if ours and value.strip():
            meta.setdefault(ours, value.strip()[:300])
    return meta
