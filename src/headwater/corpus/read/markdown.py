"""Markdown: the text with its markup, which a model should know; front matter becomes metadata, comments go."""

from __future__ import annotations

import re
from collections.abc import Iterator

from headwater.corpus.document import Document
from headwater.corpus.licences.names import all_of
from headwater.corpus.read.html_metadata import language_of
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.json import read_whole
from headwater.corpus.read.limits import ZERO_BYTE, ReadLimits, Unusable, not_utf8
from headwater.corpus.read.text import encoding_of, read_text

_FRONT = re.compile(r"\ufeff?(---|\+\+\+)[ \t]*\r?\n(.{0,20000}?\n|)\1[ \t]*(?:\r?\n|$)", re.DOTALL)
_FIELD = re.compile(r"^([A-Za-z_-]+)[ \t]*[:=][ \t]*(.*)$", re.MULTILINE)
# one name, or a list of several in brackets or a line each; or what isn't understood
_LICENCE = re.compile(
    r"^licen[sc]es?[ \t]*[:=]([^\n]*(?:\n(?:[ \t]*-[ \t]|[ \t]+\S)[^\n]*)*)", re.MULTILINE | re.IGNORECASE
)
_HEADING = re.compile(r"^#[ \t]+(.+?)[ \t#]*$", re.MULTILINE)
_MARK = re.compile(r"^[ ]{0,3}(```|~~~)|<!--", re.MULTILINE)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def read_markdown(file: InputFile, limits: ReadLimits) -> Iterator[Document]:
    """Yield the file as one document, without front matter and comments; one too large to be held is read as text.

    Raises Unusable as read_text does.
    """
    try:
        data = read_whole(file, limits.max_file_bytes)
    except Unusable as error:
        if error.reason != "file_too_large":
            raise
        yield from read_text(file, limits.max_document_characters)
        return
    text = decoded(data)
    meta = {}
    if front := _FRONT.match(text):
        meta = front_matter(front[2])
        text = text[front.end() :]
    if "<!--" in text and "-->" in text:
        text = without_comments(text)
    if "title" not in meta and (heading := _HEADING.search(text, 0, 5000)):
        meta["title"] = heading[1]
    if text.strip() or not meta:
        yield file.document(text, **meta)


def decoded(data: bytes) -> str:
    """Return bytes as text, by their byte order mark or as UTF-8. Raises Unusable: not_utf8, binary."""
    try:
        text = data.decode(encoding_of(data))
    except UnicodeDecodeError as error:
        raise not_utf8(error) from None
    if "\0" in text:
        raise Unusable("binary", ZERO_BYTE)
    return text


def front_matter(block: str) -> dict[str, str]:
    """Return what the fields of a front matter, YAML or TOML of one line a field, say of the document."""
    fields = {name.lower(): value.strip().strip("\"'") for name, value in _FIELD.findall(block)}
    names = {"title": "title", "author": "author", "url": "canonical_url"}
    meta = {ours: fields[theirs] for ours, theirs in names.items() if fields.get(theirs)}
    if date := _DATE.match(fields.get("date", "")):
        meta["date"] = date.group()
    if language := language_of(fields.get("lang") or fields.get("language") or ""):
        meta["language"] = language
    meta = {name: value for name, value in meta.items() if value[:1] not in "[{|>&"}
    named = [name for value in _LICENCE.findall(block) for name in _names(value)]
    if named:
        meta["licence"] = all_of(named)
    return meta


def _names(value: str) -> list[str]:
    """Return the names in a value that is one, or a list."""
    value = value.strip()
    listed = value[1:-1].split(",") if value[:1] == "[" and value[-1:] == "]" else value.split("\n")
    return list(filter(None, (name.strip(" \t-\"'") for name in listed)))


def without_comments(text: str) -> str:
    """Return Markdown without HTML comments, but for those in fenced code, which are what it shows."""
    kept: list[str] = []
    at, fence = 0, ""
    for mark in _MARK.finditer(text):
        if mark.start() < at:  # in a comment
            continue
        if mark[1]:
            fence = mark[1] if not fence else "" if mark[1] == fence else fence
        elif not fence:
            end = text.find("-->", mark.end())
            if end < 0:
                break
            kept.append(text[at : mark.start()])
            at = end + 3
    return "".join([*kept, text[at:]])
