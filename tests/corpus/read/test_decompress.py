"""Compressed files that are damaged: what stands before the damage is kept, however small the file."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import random
import tarfile
import zlib

import pyarrow as pa
import pytest

from headwater.corpus.read.decompress import DAMAGES, Decompressed

ROWS = [b'{"id": %d, "text": "row %d says %d"}\n' % (n, n, random.Random(n).getrandbits(60)) for n in range(20_000)]


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


def small_blocks(data: bytes) -> bytes:
    return bz2.compress(data, 1)


def whole_rows(data: bytes) -> int:
    """Return how many lines a gzip file that is cut short holds whole, by zlib itself."""
    return zlib.decompressobj(31).decompress(data).count(b"\n")


@pytest.mark.parametrize("num_rows", [3, 1000, 20_000])
def test_a_gzip_file_cut_short_gives_every_row_before_the_cut_at_any_size(read, num_rows):
    content = gzip.compress(b"".join(ROWS[:num_rows]))[:-12]
    documents, drops = read("a.jsonl.gz", content)
    assert len(documents) == whole_rows(content) > num_rows // 2
    assert [(drop.reason, drop.id.rpartition("#")[2], drop.num_documents) for drop in drops] == [
        ("damaged_gzip", "rest", 1)
    ]


def test_a_file_of_which_nothing_is_whole_counts_with_its_bytes(read):
    content = gzip.compress(ROWS[0])[:-30]
    documents, drops = read("a.jsonl.gz", content)
    assert (documents, [(drop.reason, drop.num_bytes) for drop in drops]) == ([], [("damaged_gzip", len(content))])


@pytest.mark.parametrize(
    ("suffix", "compress", "at_least"),
    [("gz", gzip.compress, 9900), ("xz", lzma.compress, 9900), ("zst", zstd, 5000), ("bz2", small_blocks, 5000)],
)
def test_other_compressions_give_what_is_whole_too(read, suffix, compress, at_least):
    """Of bz2 and zstd blocks count, of 100 and 128 thousand bytes."""
    documents, drops = read(f"a.jsonl.{suffix}", compress(b"".join(ROWS[:10_000]))[:-40])
    assert [document.text for document in documents] == [
        f"row {n} says {random.Random(n).getrandbits(60)}" for n in range(len(documents))
    ]
    assert len(documents) >= at_least
    assert [drop.reason.partition("_")[0] for drop in drops] == ["damaged"]


@pytest.mark.parametrize("name", ["a.csv.gz", "a.jsonl.gz"])
def test_a_flipped_bit_costs_two_kilobytes_before_it(read, name):
    rows = ROWS[:1000] if "json" in name else [b"text\n", *(b"row %d says %d\n" % (n, n * n) for n in range(1000))]
    content = bytearray(gzip.compress(b"".join(rows)))
    content[-8] ^= 1  # the checksum: what can be told to be wrong no sooner
    documents, drops = read(name, bytes(content))
    lost = 2048 // len(rows[-1]) + 4
    assert 1000 - lost <= len(documents) < 1000
    (drop,) = drops
    assert drop.reason == "damaged_gzip" and "incorrect data check" in drop.because


def gzip_by_bytes(content):
    return _by_bytes(zlib.decompressobj(31), content)


def xz_by_bytes(content):
    return _by_bytes(lzma.LZMADecompressor(), content)


def _by_bytes(stream, content):
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
    return content[: len(content) // 2] + bytes([content[len(content) // 2] ^ 64]) + content[len(content) // 2 + 1 :]


def cut(content):
    return content[: len(content) // 2]


@pytest.mark.parametrize(
    ("compression", "damaged", "by_bytes", "num_lost"),
    [
        ("gzip", flipped(gzip.compress(b"".join(ROWS))), gzip_by_bytes, 2048),
        ("gzip", cut(gzip.compress(b"".join(ROWS))), gzip_by_bytes, 0),
        ("xz", flipped(lzma.compress(b"".join(ROWS))), xz_by_bytes, 2048),
        ("xz", cut(lzma.compress(b"".join(ROWS))), xz_by_bytes, 0),
        ("zstd", cut(zstd(b"".join(ROWS))), zstd_by_bytes, 2048),
    ],
)
@pytest.mark.parametrize("at_once", [5000, 300_000])
def test_what_stands_before_a_damage_comes_but_for_a_step(compression, damaged, by_bytes, num_lost, at_once):
    stream, found, whole = (
        io.BufferedReader(Decompressed(io.BytesIO(damaged), compression), at_once),
        b"",
        by_bytes(damaged),
    )
    with pytest.raises((*DAMAGES, OSError)):
        while data := stream.read1(at_once):
            found += data
    assert len(whole) > 200_000
    assert found == whole[: len(found)] and len(whole) - len(found) <= num_lost, (len(found), len(whole))


@pytest.mark.parametrize(("suffix", "compress"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)])
@pytest.mark.parametrize("name", ["a.jsonl", "a.xml"])
def test_what_stands_behind_a_damaged_stream_is_read(read, suffix, compress, name):
    """Dumps of Wikipedia are streams of a hundred pages each."""
    page = "<page><title>T{0}</title><ns>0</ns><revision><text>Words {0}.</text></revision></page>"
    shape, (first, last) = {
        "a.jsonl": ('{{"text": "Words {0}."}}\n', ("", "")),
        "a.xml": (page, ("<mediawiki>", "</mediawiki>")),
    }[name]
    streams = [compress("".join(shape.format(n) for n in range(at, at + 10)).encode()) for at in range(0, 50, 10)]
    streams[2] = flipped(streams[2])
    content = compress(first.encode()) + b"".join(streams) + compress(last.encode())
    documents, drops = read(f"{name}.{suffix}", content)
    numbers = [int(document.text.split()[-1].rstrip(".")) for document in documents]
    assert [n for n in numbers if n // 10 != 2] == [n for n in range(50) if n // 10 != 2]
    damages = [drop for drop in drops if drop.reason.startswith("damaged_") and not drop.reason.endswith("xml")]
    assert [drop.num_bytes for drop in damages] == [len(streams[2])]


def test_a_cut_dump_keeps_its_whole_pages(read):
    pages = "".join(
        f"<page><title>T{n}</title><ns>0</ns><revision><text>Words {random.Random(n).random()}.</text></revision></page>"
        for n in range(300)
    )
    content = gzip.compress(f"<mediawiki>{pages}</mediawiki>".encode())
    documents, drops = read("a.xml.gz", content[: len(content) // 2])
    assert len(documents) > 100
    assert [(drop.reason, drop.because) for drop in drops] == [("damaged_gzip", "the file is cut short")]


def test_a_cut_archive_keeps_its_whole_members(read):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for n in range(4):
            data = bytes(random.Random(n).choices(b"abcdefghijklmnopqrstuvwxyz ", k=2000))
            info = tarfile.TarInfo(f"{n}.txt")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    content = gzip.compress(buffer.getvalue())
    documents, drops = read("a.tar.gz", content[: len(content) * 7 // 10])
    assert len(documents) == 2
    assert [drop.reason for drop in drops] == ["damaged_gzip"]


def test_the_error_comes_again_each_time():
    stream = io.BufferedReader(Decompressed(io.BytesIO(gzip.compress(b"words " * 99)[:-9]), "gzip"))
    assert stream.read1(10_000) == b"words " * 99
    for _ in range(2):
        with pytest.raises(DAMAGES):
            stream.read1(1)


@pytest.mark.parametrize("end", [b"\0" * 70_000, b""])
def test_zeros_behind_a_stream_are_no_damage(read, end):
    documents, drops = read("a.jsonl.gz", gzip.compress(ROWS[0]) + end + gzip.compress(ROWS[1]) + end)
    assert (len(documents), drops) == (2, [])


def test_what_is_no_stream_behind_one_is_a_damage(read):
    documents, drops = read("a.jsonl.gz", gzip.compress(ROWS[0]) + b"words")
    assert (len(documents), [drop.reason for drop in drops]) == (1, ["damaged_gzip"])
