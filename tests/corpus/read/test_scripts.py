"""Code whose name doesn't say so."""

from __future__ import annotations

import io
import zipfile

import pytest

from headwater.corpus.read.scripts import interpreted_language


@pytest.mark.parametrize(
    ("line", "language"),
    [
        ("#!/bin/sh", "shell"), ("#! /bin/bash -e", "shell"), ("#!/usr/bin/env python3.11 -u", "python"),
        ("#!/usr/bin/env -S A=1 node --x", "javascript"), ("#!/usr/bin/perl5.30.1 -w", "perl"), ("#!/usr/bin/make -f", "make"),
        ("#!/usr/bin/env Rscript", "r"), ("#!/opt/x/mine", None), ("#!/usr/bin/env", None), ("#!/usr/bin/env -S", None),
        ("#!shebang", None), ("words", None), ("#!/\xff\xfe", None),
    ],
)  # fmt: skip
def test_the_first_line_tells_the_language(line, language):
    assert interpreted_language(line.encode("latin-1") + b"\necho\n") == language


@pytest.mark.parametrize(("name", "meta"), [("install", {"language": "shell"}), ("run.in", {"language": "shell"})])
@pytest.mark.parametrize("kind", ["text", "code", "documentation"])
def test_a_script_without_a_name_for_it_is_code(read, name, meta, kind):
    (document,), _ = read(name, b"#!/bin/sh\n\techo  hello\n", kind=kind)
    assert (document.kind, document.meta) == ("code", meta)


def test_a_script_of_an_unknown_interpreter_is_code_of_no_language(read):
    (document,), _ = read("tool", b"#!/opt/mine\nx\n")
    assert (document.kind, document.meta) == ("code", {})


@pytest.mark.parametrize(
    ("name", "content"), [("a.txt", b"#!/bin/sh\n"), ("README", b"#! important\n"), ("README", b"x\n#!/bin/sh\n")]
)
def test_other_texts_are_none(read, name, content):
    (document,), _ = read(name, content, kind="documentation")
    assert document.kind == "documentation"


def test_a_script_in_an_archive_is_code(read):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("bin/tool", "#!/usr/bin/env ruby\nputs 1\n")
        archive.writestr("bin/words", "words\n")
    documents, _ = read("a.zip", buffer.getvalue())
    assert [(document.kind, document.meta) for document in documents] == [("code", {"language": "ruby"}), ("text", {})]


def test_a_name_goes_before_the_first_line(read):
    (document,), _ = read("a.py", b"#!/bin/sh\nx\n")
    assert document.meta == {"language": "python"}
