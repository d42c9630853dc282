"""Headers of hostile GGUF files: refused by what they claim, before anything is read at their word."""

from __future__ import annotations

import itertools
import struct
from pathlib import Path

import pytest

from headwater.core.errors import ConfigError
from headwater.export.base.gguf import MAX_ITEMS, MAX_STRING, read_header

STRING, ARRAY, BYTE = 8, 9, 0
numbers = itertools.count()


def text(data: bytes = b"k", size: int | None = None) -> bytes:
    return struct.pack("<Q", len(data) if size is None else size) + data


def header(keys: list[bytes], num_keys: int | None = None, num_tensors: int = 0, version: int = 3) -> bytes:
    counts = num_tensors, len(keys) if num_keys is None else num_keys
    return struct.pack("<4sIQQ", b"GGUF", version, *counts) + b"".join(keys)


def key(kind: int, value: bytes) -> bytes:
    return text(b"%d" % next(numbers)) + struct.pack("<I", kind) + value


def array(kind: int, num: int, data: bytes = b"") -> bytes:
    return key(ARRAY, struct.pack("<IQ", kind, num) + data)


SOUND = header([key(STRING, text(b"llama")), array(BYTE, 3, b"abc"), array(STRING, 2, text() + text(b""))])


def test_a_sound_header_passes_and_cut_anywhere_it_does_not(tmp_path: Path):
    path = tmp_path / "m.gguf"
    path.write_bytes(SOUND + b"tensors")
    read_header(path)
    for end in range(len(SOUND)):
        path.write_bytes(SOUND[:end])
        with pytest.raises(ConfigError, match="is no whole GGUF file"):
            read_header(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"GGML" + SOUND[4:], "doesn't begin as one"),
        (header([], version=1), "doesn't begin as one"),
        (header([], version=3 << 24), "little-endian"),
        (header([], num_keys=2**63), f"more than {MAX_ITEMS:,} values"),
        (header([], num_tensors=2**63), f"more than {MAX_ITEMS:,} values"),
        (header([key(STRING, text(b"x", 2**62))]), f"is more than {MAX_STRING:,}"),
        (header([text(b"x", 2**62)]), f"is more than {MAX_STRING:,}"),
        (header([array(BYTE, 2**60)]), f"more than {MAX_ITEMS:,} values"),
        (header([array(BYTE, 1000)]), "ends within its header"),
        (header([array(STRING, 1000)]), "is no whole GGUF file"),
        (header([array(ARRAY, 1)]), "of kind 9, which isn't read"),
        (header([text() + struct.pack("<IB", 0, 1)] * 2), "it has 'k' twice"),
        (header([key(STRING, text(b"\xff"))]), "is no whole GGUF file"),
        (header([key(13, b"")]), "of kind 13, which isn't read"),
        (header([text(b"t") + struct.pack("<I", 2**31)], num_keys=0, num_tensors=1), f"more than {MAX_ITEMS:,} values"),
    ],
)
def test_a_header_that_claims_more_than_there_is_is_refused(tmp_path, data, message):
    (tmp_path / "m.gguf").write_bytes(data)
    with pytest.raises(ConfigError, match=message):
        read_header(tmp_path / "m.gguf")
