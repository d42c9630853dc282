"""Archives of files, zip and tar: each member as the reader for its name reads it, in memory.

Nothing is written anywhere, so a member's name is no more than a name. Links, devices, hidden names and an archive in
an archive are drops. Where licences are found out, the archive is read once for its licence files before it is read for
its texts: in a tar they may stand behind what they speak of.
"""

from __future__ import annotations

import posixpath
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO

from headwater.corpus.document import Document, Drop
from headwater.corpus.licences.files import MAX_LICENCE_FILE_BYTES, is_licence_file, stated
from headwater.corpus.licences.tree import ArchiveLicences, with_licence
from headwater.corpus.read.input import InputFile, Member, Stream, pieces_of, read_here
from headwater.corpus.read.limits import RECORD_BYTES, Expansion, ReadLimits, Unusable
from headwater.corpus.sources.formats import (
    compression_of,
    format_of,
    kind_of,
    skip_reason,
    without_compression,
)
from headwater.corpus.sources.spdx import UNKNOWN

_MAX_READS_AT_END = 20
_MAX_LINK_BYTES = 4096  # no path is longer
_ZIP_SUFFIXES = (".zip", ".whl")
_BLOCK_BYTES = 1 << 18
_ENCRYPTED = 1  # a flag of a member
_MAX_LICENCE_FILES = 20_000  # a few megabytes of what they say


@dataclass(frozen=True, slots=True)
class ArchiveMember:
    """A file in an archive: its bytes, or the reason why it isn't read; None for one that nobody wants.

    Of a link, the name there it leads to; and how many bytes it takes there, at most all.
    """

    name: str
    data: bytes | str | None = b""
    link_to: str | None = None
    num_bytes: int = 0


# how many bytes of a member of that name are read at most, beyond which it is too large; None where nobody wants it
MaxBytes = Callable[[str], int | None]


def archive_members(file: InputFile, limits: ReadLimits, max_bytes: MaxBytes) -> Iterator[ArchiveMember]:
    """Yield the members, one in memory at a time, and links, in the archive's order.

    Raises Unusable: damaged_zip, damaged_tar, not_zip, not_tar, expands_too_far, and for a compressed file.
    """
    is_zip = PurePosixPath(without_compression(file.path.name)).suffix.lower() in _ZIP_SUFFIXES
    return (_zip_members if is_zip else _tar_members)(file, limits, max_bytes)


def path_skip_reason(name: str) -> str:
    """Return why a member of this name is skipped, as `skip_reason` does of a file below a folder, or ""."""
    return next((reason for part in PurePosixPath(name).parts if part != ".." and (reason := skip_reason(part))), "")


def read_archive(file: InputFile, limits: ReadLimits) -> Iterator[Document | Drop]:
    """Yield what the members hold, in the archive's order, documents that name no licence of their own with that of the
    tree it holds. Raises Unusable as `archive_members` does.
    """
    licences = _licences(file, limits) if limits.finds_licences else None
    seen: dict[str, int] = {}
    for member in archive_members(file, limits, lambda name: limits.max_file_bytes):
        if member.data is None:
            continue
        name = member.name
        seen[name] = seen.get(name, 0) + 1
        part = f"#{name}" if seen[name] == 1 else f"#{name}#{seen[name]}"
        if not file.begin_record(part, len(member.data) if isinstance(member.data, bytes) else 0):
            continue
        if isinstance(member.data, str):
            yield file.drop(member.data, member.num_bytes, part)
        elif member.link_to is not None:
            yield file.drop("link_in_archive", 0, part, because=f"it leads to {member.link_to[:200]}")
        else:
            licence = licences.found_for(name) if licences else (None, "")
            for piece in _member_pieces(file, name, member.data, part, limits):
                yield with_licence(piece, *licence)


def _licences(file: InputFile, limits: ReadLimits) -> ArchiveLicences:
    """Return what the licence files of an archive say; no damage is raised here.

    A link says what the licence file says that it leads to; "unknown" where it leads to none.
    """
    licences, by_name, links = ArchiveLicences(), dict[str, str | None](), list[tuple[str, str]]()
    try:
        for member in archive_members(file, limits, _licence_file_bytes):
            file.still_reading()
            if member.link_to is not None:
                links.append((member.name, member.link_to))
            elif member.data is not None:
                data = member.data
                found = stated(PurePosixPath(member.name).name, data) if isinstance(data, bytes) else UNKNOWN
                by_name[posixpath.normpath(member.name)] = found
    except Unusable:
        licences.is_whole = False
    all_found = [*by_name.items(), *((name, by_name.get(target, UNKNOWN)) for name, target in links)]
    for name, found in all_found[:_MAX_LICENCE_FILES]:
        if found is not None:
            licences.add_(name, found)
    licences.is_whole &= len(all_found) <= _MAX_LICENCE_FILES
    return licences


def _licence_file_bytes(name: str) -> int | None:
    is_wanted = is_licence_file(PurePosixPath(name).name) and not path_skip_reason(name)
    return MAX_LICENCE_FILE_BYTES if is_wanted else None


def _member_pieces(file: InputFile, name: str, data: bytes, part: str, limits: ReadLimits) -> Iterator[Document | Drop]:
    kind = kind_of(format_of(name, limits.own_formats), file.kind)
    member = Member(PurePosixPath(name), f"{file.origin}{part}", file.source, kind, data)  # type: ignore[arg-type]
    return pieces_of(member, _read_member, limits)


def _read_member(member: InputFile, file_format: str, limits: ReadLimits) -> Iterator[Document | Drop]:
    form = limits.format(file_format)
    if compression_of(member.path.name) or form.on_disk or not form.in_archives:
        raise Unusable("unknown_format")
    return read_here(member, file_format, limits)


def _zip_members(file: InputFile, limits: ReadLimits, max_bytes: MaxBytes) -> Iterator[ArchiveMember]:
    expansion = Expansion()
    with file.open() as stream:
        if stream.read(2) != b"PK":
            raise Unusable("not_zip")
    source = BytesIO(file.read_whole(limits.max_file_bytes)) if compression_of(file.path.name) else file.path
    with open_zip(source, "zip") as archive:
        for info in archive.infolist():
            expansion.add_(RECORD_BYTES, file.num_bytes)
            most = max_bytes(info.filename) if info.filename and not info.is_dir() else None
            if most is None:
                continue
            if reason := path_skip_reason(info.filename):
                yield ArchiveMember(info.filename, reason)
                continue
            is_link = (info.external_attr >> 28) == 0xA
            data = _zip_bytes(archive, info, _MAX_LINK_BYTES if is_link else most, expansion, file.num_bytes)
            if is_link:
                link = data.decode("utf-8", "replace") if isinstance(data, bytes) else ""
                yield ArchiveMember(info.filename, link_to=_target(info.filename, link))
            else:
                yield ArchiveMember(info.filename, data, num_bytes=min(info.compress_size, file.num_bytes))


def _zip_bytes(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, max_bytes: int, expansion: Expansion, num_bytes: int
) -> bytes | str:
    try:
        return member_bytes(archive, info, max_bytes, expansion, num_bytes)
    except Unusable as error:
        if error.reason == "expands_too_far":
            raise
        return error.reason


def _target(name: str, link: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), link))


def _tar_members(file: InputFile, limits: ReadLimits, max_bytes: MaxBytes) -> Iterator[ArchiveMember]:
    expansion = Expansion()
    with file.open() as stream:
        is_first = True
        try:
            with tarfile.open(fileobj=_Ending(stream), mode="r|", errorlevel=1) as archive:  # type: ignore[call-overload]
                for info in archive:
                    is_first = False
                    expansion.add_(RECORD_BYTES, file.num_bytes)
                    most = max_bytes(info.name)
                    if most is None or info.isdir():
                        yield ArchiveMember(info.name, None)
                    elif reason := path_skip_reason(info.name):
                        yield ArchiveMember(info.name, reason)
                    elif info.isreg():
                        data = _tar_bytes(archive, info, most, expansion, file.num_bytes)
                        yield ArchiveMember(info.name, data, num_bytes=min(info.size, file.num_bytes))
                    elif info.issym() or info.islnk():
                        target = (
                            _target(info.name, info.linkname) if info.issym() else posixpath.normpath(info.linkname)
                        )
                        yield ArchiveMember(info.name, link_to=target)
                    else:
                        yield ArchiveMember(info.name, "not_a_file")
                    archive.members = []  # type: ignore[attr-defined]  # it keeps all that it has seen
        except (tarfile.TarError, ValueError, OverflowError) as error:
            raise Unusable("not_tar" if is_first else "damaged_tar") from error


class _Ending:
    """A stream that says so when it is read on and on behind its end, as tarfile does for a member of 10^24 bytes."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._reads_left = _MAX_READS_AT_END

    def read(self, size: int) -> bytes:
        data: bytes = self._stream.read1(size)  # `read` loses what precedes a damage
        if not data:
            self._reads_left -= 1
            if self._reads_left < 0:
                raise tarfile.ReadError("a member continues behind the end")
        return data


def _tar_bytes(
    archive: tarfile.TarFile, info: tarfile.TarInfo, max_bytes: int, expansion: Expansion, num_bytes: int
) -> bytes | str:
    if info.size > max_bytes:
        return "file_too_large"
    stream: IO[bytes] | None = archive.extractfile(info)
    data = stream.read(info.size) if stream else b""
    if len(data) < info.size:
        raise tarfile.ReadError("cut short")
    expansion.add_(len(data), num_bytes)  # a sparse member is mostly holes
    return data


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
