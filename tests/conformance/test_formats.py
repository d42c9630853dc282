"""What every format must do that is registered, headwater's own and those of docs/corpus.md, with any bytes at all."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_documents import docx, epub, odt, page_of, pdf_of_texts, pptx
from made_files import http, rows_as, warc, zipped

from headwater.corpus.document import Document, Drop
from headwater.corpus.read.files import limits_of
from headwater.corpus.read.input import InputFile, pieces_of, read_here
from headwater.corpus.read.limits import ReadLimits
from headwater.corpus.read.sandbox import Sandbox
from headwater.corpus.sources.formats import FORMATS, format_of
from headwater.corpus.sources.settings import CorpusSettings

PAGE = (Path(__file__).parents[2] / "docs" / "corpus.md").read_text(encoding="utf-8")
OWN_CODE = next(code for code in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "OwnFormat" in code)
OWN = {name.lower(): {"class": f"mine.py:{name}"} for name in re.findall(r"class (\w+)\(OwnFormat\)", OWN_CODE)}
Make = Callable[[Sequence[str]], bytes]


def rows(name: str, texts: Sequence[str]) -> bytes:
    return rows_as(name, [{"text": text} for text in texts])


def paragraphs(texts: Sequence[str]) -> bytes:
    return "\n\n".join(texts).encode()


def crawl(texts: Sequence[str]) -> bytes:
    return b"".join(warc("response", http(page_of([text])), "WARC-Target-URI: http://a.example") for text in texts)


SAMPLES: dict[str, tuple[str, Make]] = {
    "text": ("a.txt", paragraphs),
    "code": ("a.py", paragraphs),
    "unknown": ("a.xyz", paragraphs),
    "markdown": ("a.md", paragraphs),
    "jsonl": ("a.jsonl", partial(rows, "a.jsonl")),
    "json": ("a.json", partial(rows, "a.json")),
    "csv": ("a.csv", partial(rows, "a.csv")),
    "parquet": ("a.parquet", partial(rows, "a.parquet")),
    "arrow": ("a.arrow", partial(rows, "a.arrow")),
    "notebook": ("a.ipynb", lambda texts: json.dumps({"cells": [{"cell_type": "code", "source": text} for text in texts]}).encode()),
    "html": ("a.html", page_of),
    "xml": ("a.xml", lambda texts: f"<article>{''.join(f'<p>{text}</p>' for text in texts)}</article>".encode()),
    "epub": ("a.epub", epub),
    "docx": ("a.docx", docx),
    "pptx": ("a.pptx", pptx),
    "odt": ("a.odt", odt),
    "pdf": ("a.pdf", pdf_of_texts),
    "warc": ("a.warc", crawl),
    "archive": ("a.zip", lambda texts: zipped({f"{n}.txt": text for n, text in enumerate(texts)})),
    "subtitles": ("a.srt", lambda texts: "\n\n".join(f"{n}\n00:01 --> 00:02\n{text}" for n, text in enumerate(texts)).encode()),
    "log": ("a.log", lambda texts: "".join(f"2024-01-02 {text}\n" for text in texts).encode()),
}  # fmt: skip
# no text, and words of formats where they don't belong
BAD = [b"\xff", b"\xed\xa0\x80", b"\0", b"\xc3", b"\xff\xfe", b"\xff\xff\xff\xff", b"PK\1\2", b"77777777777", b"\r\n\r\n", b'"', b",",
       b"[[[[", b"1e999", rb"\ud800", b"<p>", b"</", b"<!--", b"<![CDATA[", b"<!DOCTYPE a [", b"<!ENTITY a 'b'>", b"&a;", b"<script>",
       b"<table>", b'<meta charset="', b"WARC/1.0\r\n", b"Content-Length: ", b"endobj", b"/Length ", b"/Kids[", b"../", b"{{", b"{|"]  # fmt: skip
PLAIN = ("text", "code", "unknown", "markdown", "html", "subtitles", "log", "csv")  # cut short, they are shorter files
TEXTS = st.lists(st.text("abcdefghij ", min_size=3, max_size=60).map("of rain {}".format), min_size=1, max_size=5)
FOR_ALL = settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
pytestmark = pytest.mark.parametrize("name", SAMPLES)


def test_every_format_has_a_sample_here(name):
    readable = {each for each, form in FORMATS.items() if form.reader}
    assert set(SAMPLES) == readable | set(OWN) and len(OWN) == 2
    assert name in OWN or format_of(SAMPLES[name][0]) == name


@pytest.fixture(scope="module")
def box():
    with Sandbox() as box:
        yield box


@pytest.fixture
def limits(tmp_path) -> ReadLimits:
    (tmp_path / "mine.py").write_text(OWN_CODE, encoding="utf-8")
    own = {name: {"class": f"{tmp_path}/{each['class']}"} for name, each in OWN.items()}
    found = CorpusSettings.model_validate({"sources": {"mine": {"paths": [str(tmp_path)]}}, "formats": own})
    return limits_of(found, found.sources["mine"])


@pytest.fixture
def read(tmp_path, limits, box):
    """Return a function that reads bytes as a format here and in the sandbox, and gives its pieces."""

    def both(name: str, data: bytes) -> tuple[list[str], list[Drop]]:
        path = tmp_path / SAMPLES[name][0]
        path.write_bytes(data)
        file = InputFile(path, "origin", "mine", "code" if name in ("code", "notebook") else "text")
        here, apart = (list(pieces_of(file, how, limits)) for how in (read_here, box.read))
        here = [replace(piece, origin="origin") for piece in here]  # that of an archive's member names the archive
        assert here == apart
        assert len({piece.id for piece in here}) == len(here) > 0
        texts = [piece.text for piece in here if isinstance(piece, Document)]
        drops = [piece for piece in here if isinstance(piece, Drop)]
        "".join(texts).encode()
        assert all(len(text) <= limits.max_document_characters for text in texts)
        assert not {"parser_failed", "unreadable", "parser_died"} & {drop.reason for drop in drops}, drops
        return texts, drops

    return both


def words(texts: Sequence[str]) -> list[str]:
    return re.findall(r"[a-j]+", " ".join(texts).replace("of rain", ""))


@FOR_ALL
@given(texts=TEXTS)
def test_all_of_a_text_is_read_the_same_here_and_in_the_sandbox(read, name, texts):
    found, drops = read(name, SAMPLES[name][1](texts))
    assert (words(found), drops) == (words(texts), [])


@pytest.mark.parametrize("data", [b"", b"\n", b"\0", b"\xff\xfe", b"\xed\xa0\x80", b"<", b"{", b"PK\3\4"])
def test_nothing_or_next_to_nothing_is_a_document_or_one_drop_with_all_its_bytes(read, name, data):
    texts, drops = read(name, data)
    assert texts or [(len(drops), drops[0].num_bytes)] == [(1, len(data))]


@FOR_ALL
@given(texts=TEXTS, share=st.floats(0.1, 0.99))
def test_a_file_cut_in_the_middle_gives_what_is_whole_and_a_drop_for_the_rest(read, name, texts, share):
    whole = SAMPLES[name][1](texts)
    found, drops = read(name, whole[: int(share * len(whole))])
    if name not in PLAIN:
        assert words(found) == words(texts)[: len(words(found))]
        assert words(found) == words(texts) or sum(drop.num_bytes for drop in drops) > 0


@FOR_ALL
@given(texts=TEXTS, seed=st.integers(0, 2**32), bad=st.sampled_from(BAD))
def test_what_is_lost_to_bytes_that_do_not_belong_there_is_counted(read, name, texts, seed, bad):
    data, chance = bytearray(SAMPLES[name][1](texts)), random.Random(seed)
    for _ in range(chance.randint(1, 3)):
        at = chance.randint(0, len(data))
        data[at : at + chance.randint(0, 2)] = bad
    found, drops = read(name, bytes(data))
    assert found or sum(drop.num_bytes for drop in drops) > 0


def test_megabytes_are_read_to_the_last_word(read, name):
    num_texts = 12 if name == "pdf" else 300  # more than two of the blocks in which files are read
    texts = [" ".join(random.Random(n).choices(["abc", "defg", "hij"], k=2000)) for n in range(num_texts)]
    found, drops = read(name, SAMPLES[name][1](texts))
    assert (len(words(found)), drops) == (len(words(texts)), [])
