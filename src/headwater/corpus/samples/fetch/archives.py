"""What is in a package's archive: .deb, wheel, source archive, or what pip installed; nothing is run, nothing unpacked.

A member's name is that of a place below the folder it will be written to, or the member isn't shown at all: names that
lead elsewhere, links and devices are passed over.
"""

from __future__ import annotations

import importlib.metadata
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import IO, Any

from headwater.core.errors import DataError
from headwater.corpus.sources.formats import expands_too_far

ARCHIVE_SUFFIXES = (".deb", ".whl", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".zip")
MAX_NAME_BYTES = 255
_BLOCK_BYTES = 1 << 20
_LAST_SECOND = 253_402_300_799  # of the year 9999
_AR_MAGIC, _AR_HEADER_BYTES = b"!<arch>\n", 60
_BROKEN = (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError, ValueError, RuntimeError)


@dataclass(frozen=True, slots=True)
class FetchedMember:
    """A regular file of an archive; its blocks are read, at most once, before the next member is asked for."""

    name: str
    date: date
    archive: str
    content: IO[bytes]

    def blocks(self) -> Iterator[bytes]:
        """Yield the file's bytes. Raises DataError where the archive is damaged."""
        with _damage_reported(self.archive):
            while block := self.content.read(_BLOCK_BYTES):
                yield block


def read_archive(path: Path) -> Iterator[FetchedMember]:
    """Yield the files of an archive; of a .deb those of the package's licence files (control) first.

    Raises DataError for one that is damaged, of no known kind, or holds more than anything of its size can.
    """
    bytes_out, archive_bytes = 0, path.stat().st_size
    with _damage_reported(path.name), open(path, "rb") as file:
        for member, num_bytes in _members(file, path.name):
            bytes_out += num_bytes
            if expands_too_far(bytes_out, archive_bytes):
                raise DataError(f"{path.name} unpacks to far more than a package of its size can hold; it was not used")
            yield member


@contextmanager
def _damage_reported(archive: str) -> Iterator[None]:
    """Turn what libraries raise for damaged archives into a DataError."""
    try:
        yield
    except (*_BROKEN, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the disk
            raise
        raise DataError(
            f"{archive} is damaged or not what its name says ({error}); remove it and fetch again"
        ) from None


def read_installed(distribution: importlib.metadata.Distribution) -> Iterator[FetchedMember]:
    """Yield the files of an installed Python package that lie where its own list says, below the packages' folder."""
    for file in distribution.files or []:
        name, path = safe_name(str(file)), Path(str(file.locate()))
        if name is not None and path.is_file() and not name.endswith(".pyc"):
            with open(path, "rb") as content:
                changed = datetime.fromtimestamp(path.stat().st_mtime, UTC).date()
                yield FetchedMember(name, changed, distribution.name, content)


def safe_name(name: str) -> str | None:
    """Return a member's name as a path below the folder it is written to; None where it names no such place."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    bad = not parts or name.startswith("/") or "\0" in name or "\\" in name
    if bad or any(part == ".." or len(part.encode(errors="replace")) > MAX_NAME_BYTES for part in parts):
        return None
    try:
        return "/".join(parts) if "/".join(parts).encode() else None
    except UnicodeEncodeError:
        return None


def _members(file: IO[bytes], name: str) -> Iterator[tuple[FetchedMember, int]]:
    if name.endswith(".deb"):
        for part in ("control", "data"):
            yield from _tar_members(_deb_part(file, part), name)
    elif name.endswith((".whl", ".zip")):
        yield from _zip_members(file, name)
    else:
        yield from _tar_members(file, name)


def _tar_members(stream: Any, archive_name: str) -> Iterator[tuple[FetchedMember, int]]:
    with tarfile.open(fileobj=stream, mode="r|*") as archive:
        for entry in archive:
            name = safe_name(entry.name)
            content = archive.extractfile(entry) if name is not None and entry.isreg() else None
            if name is not None and content is not None:
                changed = datetime.fromtimestamp(min(max(entry.mtime, 0), _LAST_SECOND), UTC).date()
                yield FetchedMember(name, changed, archive_name, content), entry.size


def _zip_members(file: IO[bytes], archive_name: str) -> Iterator[tuple[FetchedMember, int]]:
    with zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            name = safe_name(entry.filename)
            kind = entry.external_attr >> 28  # of a Unix file: 0 where it isn't said, 8 for a regular one
            if name is not None and not entry.is_dir() and kind in (0, 8):
                with archive.open(entry) as content:
                    yield FetchedMember(name, _date_of(entry), archive_name, content), entry.file_size


def _date_of(entry: zipfile.ZipInfo) -> date:
    """Return a member's date; of one that says none, which some writers leave at zero, the first a zip can say."""
    try:
        return date(*entry.date_time[:3])
    except ValueError:
        return date(1980, 1, 1)


def _deb_part(file: IO[bytes], part: str) -> Any:
    """Return the tar stream `part` of a .deb, which is an ar archive of three members."""
    file.seek(0)
    if file.read(len(_AR_MAGIC)) != _AR_MAGIC:
        raise ValueError("no ar archive")
    while header := file.read(_AR_HEADER_BYTES):
        if len(header) < _AR_HEADER_BYTES or header[58:] != b"`\n":
            raise ValueError("an ar header is broken")
        member, num_bytes = header[:16].decode("ascii").rstrip(" /"), int(header[48:58])
        if member.startswith(f"{part}.tar"):
            data = io.BytesIO(file.read(num_bytes))
            return _unpacked_zstd(data) if member.endswith(".zst") else data  # tarfile knows the others
        file.seek(num_bytes + num_bytes % 2, io.SEEK_CUR)
    raise ValueError(f"no {part}.tar in it")


def _unpacked_zstd(data: IO[bytes]) -> Any:
    import pyarrow as pa

    return pa.CompressedInputStream(data, "zstd")
