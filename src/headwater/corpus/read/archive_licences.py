"""The licences of the files in an archive, by the licence files of the tree that it holds, as if it were unpacked.

They are read before its texts: in a tar they may stand behind what they speak of.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from headwater.corpus.document import Document, Drop
from headwater.corpus.licences.files import MAX_LICENCE_FILE_BYTES, is_licence_file, stated
from headwater.corpus.licences.tree import ArchiveLicences, with_licence
from headwater.corpus.read.archive import archive_members, path_skip_reason
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.limits import ReadLimits, Unusable
from headwater.corpus.read.sandbox import Sandbox
from headwater.sources.spdx import UNKNOWN

_MAX_FILES = 20_000  # a few megabytes of what they say
_PASSED_OVER = "passed_over"


def marked_archive(
    pieces: Iterable[Document | Drop], file: InputFile, limits: ReadLimits, sandbox: Sandbox
) -> Iterator[Document | Drop]:
    """Yield the pieces of an archive, documents that name no licence of their own with that of the tree it holds.

    Parts of a member (#3, /0) look like files below it, which are under the same licence.
    """
    licences = _archive_licences(file, limits, sandbox)
    for piece in pieces:
        yield piece if isinstance(piece, Drop) else with_licence(piece, *licences.found_for(_name_in(file, piece)))


def _archive_licences(file: InputFile, limits: ReadLimits, sandbox: Sandbox) -> ArchiveLicences:
    """Return what the licence files of an archive say, read in the sandbox; no damage is raised here."""
    licences = ArchiveLicences()
    num_files = 0
    try:
        for piece in sandbox.read(file, "archive_licences", limits):
            if isinstance(piece, Document) and num_files < _MAX_FILES:
                licences.add_(_name_in(file, piece), piece.text)
                num_files += 1
            elif isinstance(piece, Document) or piece.reason != _PASSED_OVER:
                licences.is_whole = False
    except Unusable:
        licences.is_whole = False
    return licences


def read_archive_licences(file: InputFile, limits: ReadLimits) -> Iterator[Document | Drop]:
    """Yield for each licence file a document under its name that has what it says for its text (licences.files).

    For each member of a tar that says nothing a drop that counts for nothing: the sandbox gives every answer the same
    time, so that what can be read can be looked through, too, however large the whole is.
    A link says what the licence file says that it leads to; "unknown" where it leads to none. Raises Unusable as
    `read_archive` does.
    """
    said: dict[str, str | None] = {}
    links: list[tuple[str, str]] = []
    for member in archive_members(file, limits, _licence_file_bytes):
        if member.data is None:
            yield file.drop(_PASSED_OVER, 0)
            continue
        if member.link_to is not None:
            links.append((member.name, member.link_to))
            continue
        data = member.data
        found = stated(PurePosixPath(member.name).name, data) if isinstance(data, bytes) else UNKNOWN
        said[posixpath.normpath(member.name)] = found
        yield file.drop(_PASSED_OVER, 0) if found is None else file.document(found, f"#{member.name}")
    for name, target in links:
        if (found := said.get(target, UNKNOWN)) is not None:
            yield file.document(found, f"#{name}")


def _licence_file_bytes(name: str) -> int | None:
    is_wanted = is_licence_file(PurePosixPath(name).name) and not path_skip_reason(name)
    return MAX_LICENCE_FILE_BYTES if is_wanted else None


def _name_in(file: InputFile, piece: Document) -> str:
    return piece.id.removeprefix(f"{file.origin}#")
