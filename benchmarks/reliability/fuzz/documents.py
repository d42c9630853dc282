"""The readers of documents: text, JSON lines, JSON, web pages; and the messages of the process that parses."""

from __future__ import annotations

from pathlib import Path

from fuzz.target import LIMITS, InMemory, Target
from headwater.corpus.clean import clean
from headwater.corpus.document import Document, Drop
from headwater.corpus.read.encoding import REPLACED, encoding_of
from headwater.corpus.read.frames import BadFrame, pack, unpack
from headwater.corpus.read.jsonl import read_jsonl
from headwater.corpus.read.limits import Unusable, bounded
from headwater.corpus.read.parse import parse
from headwater.corpus.read.text import read_text

KINDS = ("text", "code")


def check_piece(piece: Document | Drop, is_bounded: bool = True) -> None:
    if isinstance(piece, Drop):
        assert piece.reason and piece.num_bytes >= 0 and piece.num_documents >= (piece.reason != REPLACED)
        return
    assert not is_bounded or len(piece.text) <= LIMITS.max_document_characters
    piece.text.encode()
    for kind in KINDS:
        cleaned = clean(piece.text, kind)
        assert clean(cleaned, kind) == cleaned, "cleaning twice changes something"


def _text(data: bytes, folder: Path) -> None:
    file = InMemory("a.txt", data)
    pieces: list[Document | Drop] = []
    try:
        pieces += bounded(read_text(file, LIMITS), LIMITS.max_document_characters)
    except Unusable as error:
        assert error.reason in ("binary", "not_utf8"), error.reason
        assert not pieces, "a text is kept or dropped as one"
        return
    for piece in pieces:
        check_piece(piece)
    read = "".join(piece.text for piece in pieces if isinstance(piece, Document))
    assert read == data.decode(encoding_of(data), "replace"), "text was lost"


def _json_lines(data: bytes, folder: Path) -> None:
    pieces = list(bounded(read_jsonl(InMemory("a.jsonl", data), LIMITS), LIMITS.max_document_characters))
    for piece in pieces:
        check_piece(piece)
    lines = [line for line in data.split(b"\n") if line.strip()]
    kept = {piece.id.split("/")[0] for piece in pieces if isinstance(piece, Document)}
    dropped = sum(piece.num_documents for piece in pieces if isinstance(piece, Drop))
    assert len(kept) + dropped == len(lines), "a line is neither kept nor dropped"


def check_parsed(name: str, file_format: str, reasons: tuple[str, ...], data: bytes) -> None:
    try:
        for piece in parse(InMemory(name, data), file_format, LIMITS):
            check_piece(piece)
    except Unusable as error:
        assert error.reason in reasons, error.reason


def _json(data: bytes, folder: Path) -> None:
    check_parsed("a.json", "json", ("malformed_json", "not_utf8", "file_too_large"), data)


def _notebook(data: bytes, folder: Path) -> None:
    reasons = ("malformed_json", "not_utf8", "not_notebook", "no_text", "file_too_large")
    check_parsed("a.ipynb", "notebook", reasons, data)


def _html(data: bytes, folder: Path) -> None:
    reasons = ("not_html", "damaged_html", "binary", "not_utf8", "too_deep", "file_too_large")
    check_parsed("a.html", "html", reasons, data)


def _frames(data: bytes, folder: Path) -> None:
    try:
        packed = pack(unpack(data))
    except BadFrame:
        return
    assert pack(unpack(packed)) == packed


TEXT_WORDS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\xff\xfe\0\0", b"\r\n", b"\xe2\x80\xa8", b"\xcc\x80\xcc\x95")
JSON_WORDS = (
    b'{"text": "',
    b'"content"',
    b'"title"',
    b"null",
    b"\\ud800",
    b"\\u0000",
    b"[[[[",
    b"1e999",
    b"NaN",
    b"\n",
)
HTML_WORDS = (
    *(b"<p>", b"<ul><li>", b"</", b"<!--", b"-->", b"<script>", b"<table>", b"<title>", b"<svg>", b"<template>"),
    *(
        b"&amp;",
        b"&#x10ffff;",
        b'<meta charset="',
        b"utf-8",
        b"idna",
        b"<![CDATA[",
        b"<a href=",
        b"<font a>",
        b"<select>",
    ),
)
TARGETS = (
    Target("text", lambda: (b"Words of a text.\n", "Grüße 世界".encode("utf-16")), _text, TEXT_WORDS),
    Target("json-lines", lambda: (b'{"text": "one"}\n{"content": "two"}\n', b'{"text": "cut'), _json_lines, JSON_WORDS),
    Target(
        "json",
        lambda: (b'[{"text": "one"}, {"x": [1, 2.5, null]}]', b'{"text": "a"}\n{"text": "b"}\n'),
        _json,
        JSON_WORDS,
    ),
    Target(
        "notebook",
        lambda: (
            b'{"cells": [{"cell_type": "markdown", "source": ["# A\\n", "b"]}, '
            b'{"cell_type": "code", "source": "c = 1"}], "metadata": {"kernelspec": {"language": "python"}}}',
        ),
        _notebook,
        (*JSON_WORDS, b'"worksheets"', b'"heading"', b'"level"', b"```"),
    ),
    Target(
        "html",
        lambda: (
            b"<html><title>A page</title><body><main><h1>Rivers</h1><p>They flow.</p><ul><li>one<li><a>two</a></ul>",
            b'<meta charset="iso-8859-1"><p>Gr\xfc\xdfe</p>',
        ),
        _html,
        HTML_WORDS,
    ),
    Target(
        "messages", lambda: (pack({"text": "words", "part": "#1", "meta": {}}), pack({"end": ""})), _frames, JSON_WORDS
    ),
)
