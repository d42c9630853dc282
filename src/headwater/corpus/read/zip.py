"""Members of a zip file, read in memory with a limit on what comes out of it."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from headwater.corpus.read.limits import Expansion, Unusable

_BLOCK_BYTES = 1 << 18
_ENCRYPTED = 1  # a flag of a member


@contextmanager
def open_zip(file: IO[bytes] | Path, file_format: str) -> Iterator[zipfile.ZipFile]:
    """Yield a zip file; raises Unusable(damaged_FORMAT) where its list of members, or what is read, is damaged."""
    try:
        with zipfile.ZipFile(file) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, OverflowError) as error:
        raise Unusable(f"damaged_{file_format}") from error


def member_bytes(
    archive: zipfile.ZipFile, name: str | zipfile.ZipInfo, max_bytes: int, expansion: Expansion, num_bytes: int
) -> bytes:
    """Return the bytes of a member of an archive that takes `num_bytes` itself.

    Raises KeyError where there is none of that name; Unusable: encrypted, file_too_large, expands_too_far,
    damaged_member.
    """
    info = archive.getinfo(name) if isinstance(name, str) else name
    if info.flag_bits & _ENCRYPTED:
        raise Unusable("encrypted")
    blocks: list[bytes] = []
    size = 0
    try:
        with archive.open(info) as stream:
            while block := stream.read(_BLOCK_BYTES):
                size += len(block)
                expansion.add_(len(block), num_bytes)
                if size > max_bytes:
                    raise Unusable("file_too_large")
                blocks.append(block)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, ValueError, RuntimeError) as error:
        raise Unusable("damaged_member") from error
    return b"".join(blocks)
