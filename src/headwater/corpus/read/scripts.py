"""Code that a file's name doesn't tell: scripts, whose first line names an interpreter, and JSON among code."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import PurePath

from headwater.corpus.read.input import InputFile
from headwater.corpus.toml_tables import keys_by_word
from headwater.sources.formats import compression_of, language_of, programming_language, without_compression

_HEAD_BYTES = 200
_FIRST_LINE = re.compile(rb"#![ \t]*(/[^\n\0]*)")
_VERSION = re.compile(r"[\d.]+$")


def as_script(file: InputFile, file_format: str) -> tuple[InputFile, str]:
    """Return a file and its format, as code where its name tells no format and its first line an interpreter.

    Raises OSError.
    """
    name = file.path.name
    is_named = file_format not in ("text", "unknown") or (file_format == "text" and PurePath(name).suffix)
    if is_named or compression_of(name) or not _FIRST_LINE.match(file.head(_HEAD_BYTES)):
        return file, file_format
    return replace(file, kind="code"), "code"


def code_language(file: InputFile) -> str | None:
    """Return the programming language of a file of code: by its name, else by the interpreter that it names."""
    name = file.path.name
    if known := language_of(name):
        return known
    if PurePath(without_compression(name)).suffix.lower() == ".json":
        return "configuration"
    return interpreted_language(file.head(_HEAD_BYTES))


def interpreted_language(head: bytes) -> str | None:
    """Return the language of the interpreter that a first line such as "#!/usr/bin/env python3" names."""
    found = _FIRST_LINE.match(head)
    words = found[1].decode("utf-8", "replace").split() if found else []
    if words and PurePath(words[0]).name == "env":
        words = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
    if not words:
        return None
    program = PurePath(words[0]).name.lower()
    for name in (program, _VERSION.sub("", program)):
        if known := keys_by_word("headwater.corpus.read", "interpreters").get(name) or programming_language(name):
            return known
    return None
