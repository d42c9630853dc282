"""Prose as plain text, and Markdown, which keeps its markup: a model should know it; front matter becomes metadata."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from headwater.corpus.clean import clean
from headwater.corpus.document import Document, Drop, num_bytes
from headwater.corpus.licences.names import all_of
from headwater.corpus.read.encoding import replaced
from headwater.corpus.read.html_metadata import iso_date, language_of
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.limits import ReadLimits
from headwater.corpus.read.text import read_text, whole_text
from headwater.corpus.read.unwrap import unwrap

_FRONT = re.compile(r"\ufeff?(---|\+\+\+)[ \t]*\r?\n(.{0,20000}?\n|)\1[ \t]*(?:\r?\n|$)", re.DOTALL)
_FIELD = re.compile(r"^([A-Za-z_-]+)[ \t]*[:=][ \t]*(.*)$", re.MULTILINE)
# one name, or a list of several in brackets or a line each; or what isn't understood
_LICENCE = re.compile(
    r"^licen[sc]es?[ \t]*[:=]([^\n]*(?:\n(?:[ \t]*-[ \t]|[ \t]+\S)[^\n]*)*)", re.MULTILINE | re.IGNORECASE
)
_HEADING = re.compile(r"^#[ \t]+(.+?)[ \t#]*$", re.MULTILINE)
# the header and the licence that Project Gutenberg puts around a book, and texts made in its manner
_START = re.compile(r"^\*{3} ?START OF (?:THE|THIS) PROJECT GUTENBERG[^\n]{0,300}\n", re.MULTILINE)
_END = re.compile(r"^(?:\*{3} ?)?END OF (?:THE |THIS )?PROJECT GUTENBERG[^\n]{0,300}$", re.MULTILINE | re.IGNORECASE)
_HEAD_CHARACTERS = 60_000  # in which the text begins, where it says so at all


def read_markdown(file: InputFile, limits: ReadLimits) -> Iterator[Document | Drop]:
    """Yield the file as one document, without front matter; one too large to be held is read as text.

    Raises Unusable as read_text does.
    """
    found = whole_text(file, limits)
    if found is None:
        yield from read_text(file, limits)
        return
    text, damage = found
    meta = {}
    if front := _FRONT.match(text):
        meta = front_matter(front[2])
        text = text[front.end() :]
    if "title" not in meta and (heading := _HEADING.search(text, 0, 5000)):
        meta["title"] = heading[1]
    if text.strip() or not meta:
        yield file.document(text, **meta)
    yield from replaced(file, damage)


def front_matter(block: str) -> dict[str, str]:
    """Return what the fields of a front matter, YAML or TOML of one line a field, say of the document."""
    fields = {name.lower(): value.strip().strip("\"'") for name, value in _FIELD.findall(block)}
    fields = {name: value for name, value in fields.items() if value[:1] not in tuple("[{|>&")}
    meta = {
        "title": fields.get("title", ""),
        "author": fields.get("author", ""),
        "url": fields.get("canonical_url", ""),
        "date": iso_date(fields.get("date", "")),
        "language": language_of(fields.get("lang") or fields.get("language") or ""),
        "licence": all_of(name for value in _LICENCE.findall(block) for name in _names(value)),
    }
    return {name: value for name, value in meta.items() if value}


def _names(value: str) -> list[str]:
    """Return the names in a value that is one, or a list."""
    value = value.strip()
    listed = value[1:-1].split(",") if value[:1] == "[" and value[-1:] == "]" else value.split("\n")
    return list(filter(None, (name.strip(" \t-\"'") for name in listed)))


def read_prose(file: InputFile, limits: ReadLimits) -> Iterator[Document | Drop]:
    """Yield the file as one document or sections; of a book without hard wraps and what Project Gutenberg puts around.

    Raises Unusable as read_text does.
    """
    found = whole_text(file, limits) if file.kind == "books" else None
    if found is None:  # also of a length that no book has
        yield from read_text(file, limits)
        return
    text, damage = found
    yield from replaced(file, damage)
    text, boilerplate = without_boilerplate(text)
    if text:
        yield file.document(unwrap(clean(text, file.kind)) or text)  # of what is nothing but blanks the bytes count
    if boilerplate:
        drop = file.drop("gutenberg_boilerplate", num_bytes(boilerplate), "#boilerplate", boilerplate[:500])
        yield replace(drop, num_documents=0) if text else drop


def without_boilerplate(text: str) -> tuple[str, str]:
    """Return what stands between the line that says where the text starts and the one where it ends, and the rest."""
    first = _START.search(text, 0, _HEAD_CHARACTERS)
    start = first.end() if first else 0
    last = _END.search(text, start)
    end = last.start() if last else len(text)
    return text[start:end], text[:start] + text[end:]
