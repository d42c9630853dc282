"""Compressed files: bombs, cut short, damaged, and archives that want to write elsewhere."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa

from hostility.case import KEPT, MIB, Cases
from hostility.texts import JUNK, PROSE

cases = Cases()
BOMB_FACTOR = 16  # a bomb expands to this many times the requested size, and to 64 MB at least
SHORT = gzip.compress(PROSE.encode())

cases.file("text under the name of gzip words.txt.gz", "not_gzip", content=PROSE.encode())
cases.file("text under the name of zstd words.txt.zst", "not_zstd", content=PROSE.encode())
cases.file("a gzip of nothing nothing.txt.gz", "empty", content=gzip.compress(b""))
cases.file("a gzip in a gzip twice.txt.gz.gz", "unknown_format", content=gzip.compress(SHORT))
cases.file("the start of a gzip start.txt.gz", "damaged_gzip", "not_gzip", content=SHORT[:12])
cases.file(
    "a gzip cut short cut.jsonl.gz", "damaged_gzip", "too_short", content=gzip.compress(b'{"text": "a"}\n' * 9)[:-9]
)
cases.file("a gzip with a wrong sum sum.txt.gz", "damaged_gzip", content=SHORT[:-8] + b"\0" * 8)
cases.file(
    "a gzip with words behind it behind.txt.gz", KEPT, "damaged_gzip", "exact_duplicate", content=SHORT + b"words"
)
cases.file("a zstd that wants 2 GB of window.txt.zst", "damaged_zstd", content=b"\x28\xb5\x2f\xfd\0\xa8\x01\0\0")
cases.file("a zstd of skipped frames skipped.txt.zst", "not_zstd", content=b"\x50\x2a\x4d\x18\4\0\0\0skip")
cases.file("a program program.exe", "unknown_format", content=b"MZ" + bytes(99))
cases.file("a pickle that runs code model.pkl", "unknown_format", content=b"cos\nsystem\n(S'false'\ntR.")


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


def _write_bomb(path: Path, size: int) -> None:
    """Write a gzip of a mebibyte of words, over and over: its members are read as one text."""
    member = gzip.compress(b"bomb" * (MIB // 4), 9)
    with open(path, "wb") as file:
        for _ in range(max(64, BOMB_FACTOR * size // MIB)):
            file.write(member)


@cases("a gzip of 1000 : 1", "expands_too_far")
def _gzip_bomb(folder: Path, size: int) -> None:
    _write_bomb(folder / "bomb.txt.gz", size)


@cases("a gzip of 1000 : 1, of JSON lines", "expands_too_far", "no_text")
def _gzip_lines(folder: Path, size: int) -> None:
    member = gzip.compress((b'{"text": 1, "more": "%s"}\n' % (b"x" * 100)) * 8000, 9)
    (folder / "bomb.jsonl.gz").write_bytes(member * max(64, BOMB_FACTOR * size // MIB))


@cases("a gzip of 1000 : 1, of a page", "expands_too_far", "file_too_large")
def _gzip_page(folder: Path, size: int) -> None:
    _write_bomb(folder / "bomb.html.gz", size)


@cases("a zstd of 10,000 : 1", "expands_too_far")
def _zstd_bomb(folder: Path, size: int) -> None:
    (folder / "bomb.txt.zst").write_bytes(zstd(b"bomb" * (16 * MIB)) * max(1, BOMB_FACTOR * size // (64 * MIB)))


@cases("zstds cut short and damaged", "damaged_zstd", "not_utf8", "binary", KEPT, "exact_duplicate", *JUNK)
def _damaged_zstd(folder: Path, size: int) -> None:
    data = zstd(b"".join(b"%d words\n" % number for number in range(20_000)))
    for number, at in enumerate(range(4, len(data), len(data) // 12)):
        (folder / f"cut{number}.txt.zst").write_bytes(data[:at])
        (folder / f"bad{number}.txt.zst").write_bytes(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])


@cases("a bz2 and an xz of 10,000 : 1", "expands_too_far")
def _other_bombs(folder: Path, size: int) -> None:
    data = b"bomb" * (8 * MIB)
    (folder / "bomb.txt.bz2").write_bytes(bz2.compress(data))
    (folder / "bomb.txt.xz").write_bytes(lzma.compress(data))


@cases("an xz that wants 256 MiB of memory", "damaged_xz")
def _xz(folder: Path, size: int) -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 28}]
    (folder / "memory.txt.xz").write_bytes(lzma.compress(PROSE.encode(), filters=filters))


@cases("a zip of zips", "unknown_format")
def _unopened(folder: Path, size: int) -> None:
    inner = _zip({"bomb.txt": bytes(4 * MIB)})
    (folder / "zips.zip").write_bytes(_zip({f"{number}.zip": inner for number in range(20)}))


@cases(
    "archives that want to write elsewhere", "too_short", "empty", "exact_duplicate", "link_in_archive", "not_a_file"
)
def _traversal(folder: Path, size: int) -> None:
    (folder / "up.zip").write_bytes(_zip({"../../up.txt": b"up", "/etc/headwater-up": b"up"}))
    with tarfile.open(folder / "up.tar", "w") as tar:
        for name, kind in (("../up.txt", tarfile.REGTYPE), ("link", tarfile.SYMTYPE), ("device", tarfile.CHRTYPE)):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "/etc"
            tar.addfile(entry)


def _zip(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()
