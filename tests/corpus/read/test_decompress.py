"""Compressed files that are damaged: what is before the damage is kept, however small the file."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import random
import zlib

import pyarrow as pa
import pytest
from made_files import by_arrow

from headwater.corpus.read.decompress import DAMAGES, Decompressed

ROWS = [b'{"id": %d, "text": "row %d says %d"}\n' % (n, n, random.Random(n).getrandbits(60)) for n in range(10_000)]
ALL = b"".join(ROWS)


def test_a_file_of_which_nothing_is_whole_counts_with_its_bytes(read):
    content = gzip.compress(ROWS[0])[:-30]
    documents, (drop,) = read("a.jsonl.gz", content)
    assert (documents, drop.reason, drop.num_bytes) == ([], "damaged_gzip", len(content))


def by_bytes(stream, content):
    parts = []
    with contextlib.suppress(*DAMAGES):
        for at in range(len(content)):
            parts.append(stream.decompress(content[at : at + 1]))
    return b"".join(parts)


def zstd_by_bytes(content):
    stream, parts = pa.CompressedInputStream(io.BytesIO(content), "zstd"), []
    with contextlib.suppress(OSError):
        while data := stream.read(1):
            parts.append(data)
    return b"".join(parts)


def flipped(content):
    at = len(content) // 2
    return content[:at] + bytes([content[at] ^ 64]) + content[at + 1 :]


def cut(content):
    return content[: len(content) // 2]


@pytest.mark.parametrize(
    ("compression", "damaged", "whole_of", "num_lost"),
    [
        ("gzip", flipped(gzip.compress(ALL)), lambda data: by_bytes(zlib.decompressobj(31), data), 2048),
        ("gzip", cut(gzip.compress(ALL)), lambda data: by_bytes(zlib.decompressobj(31), data), 0),
        ("xz", flipped(lzma.compress(ALL)), lambda data: by_bytes(lzma.LZMADecompressor(), data), 2048),
        ("xz", cut(lzma.compress(ALL)), lambda data: by_bytes(lzma.LZMADecompressor(), data), 0),
        ("zstd", cut(by_arrow(ALL)), zstd_by_bytes, 2048),
    ],
)
@pytest.mark.parametrize("at_once", [5000, 300_000])
def test_what_is_before_a_damage_comes_but_for_a_step(compression, damaged, whole_of, num_lost, at_once):
    stream = io.BufferedReader(Decompressed(io.BytesIO(damaged), compression), at_once)
    found, whole = b"", whole_of(damaged)
    with pytest.raises((*DAMAGES, OSError)):
        while data := stream.read1(at_once):
            found += data
    assert len(whole) > 200_000
    assert found == whole[: len(found)] and len(whole) - len(found) <= num_lost, (len(found), len(whole))


PAGE = "<page><title>T{0}</title><ns>0</ns><revision><text>Words {0}.</text></revision></page>"
SHAPES = {"a.jsonl": ('{{"text": "Words {0}."}}\n', "", ""), "a.xml": (PAGE, "<mediawiki>", "</mediawiki>")}


@pytest.mark.parametrize(("suffix", "compress"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)])
@pytest.mark.parametrize("name", SHAPES)
def test_what_is_behind_a_damaged_stream_is_read(read, suffix, compress, name):
    """Dumps of Wikipedia are streams of a hundred pages each."""
    shape, first, last = SHAPES[name]
    streams = [compress("".join(shape.format(n) for n in range(at, at + 10)).encode()) for at in range(0, 50, 10)]
    streams[2] = flipped(streams[2])
    content = compress(first.encode()) + b"".join(streams) + compress(last.encode())
    documents, drops = read(f"{name}.{suffix}", content)
    numbers = [int(document.text.split()[-1].rstrip(".")) for document in documents]
    assert [n for n in numbers if n // 10 != 2] == [n for n in range(50) if n // 10 != 2]
    damages = [drop for drop in drops if drop.reason.startswith("damaged_") and not drop.reason.endswith("xml")]
    assert [drop.num_bytes for drop in damages] == [len(streams[2])]


def test_the_error_comes_again_each_time():
    stream = io.BufferedReader(Decompressed(io.BytesIO(gzip.compress(b"words " * 99)[:-9]), "gzip"))
    assert stream.read1(10_000) == b"words " * 99
    for _ in range(2):
        with pytest.raises(DAMAGES):
            stream.read1(1)


@pytest.mark.parametrize(
    ("behind", "reasons"),
    [
        (b"\0" * 70_000 + gzip.compress(ROWS[1]) + b"\0" * 70_000, []),
        (gzip.compress(ROWS[1]), []),
        (gzip.compress(ROWS[1]) + b"words", ["damaged_gzip"]),
    ],
    ids=["zeros are not damage", "another stream", "what is not a stream is damage"],
)
def test_what_is_behind_a_stream(read, behind, reasons):
    documents, drops = read("a.jsonl.gz", gzip.compress(ROWS[0]) + behind)
    assert (len(documents), [drop.reason for drop in drops]) == (2, reasons)
