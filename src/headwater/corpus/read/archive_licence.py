"""The licences of the files in an archive, by the licence files of the tree that it holds, as if it were unpacked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from headwater.corpus.document import Document, Drop
from headwater.corpus.read.archive_licence_files import PASSED_OVER
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.licence_files import FolderLicences, is_info, nearest_licence
from headwater.corpus.read.limits import ReadLimits, Unusable
from headwater.corpus.read.sandbox import Sandbox
from headwater.corpus.read.tree_licence import with_licence
from headwater.sources.spdx import UNKNOWN

_MAX_FILES = 20_000  # a few megabytes of what they say


class ArchiveLicences:
    """What the licence files of an archive say, by folder."""

    def __init__(self) -> None:
        self._folders: dict[PurePosixPath, FolderLicences] = {}
        self.is_whole = True

    def add_(self, name: str, said: str) -> None:
        """Add what the licence file of this name says: of its folder, and of a distribution beside that."""
        path = PurePosixPath(name)
        self._folders.setdefault(path.parent, FolderLicences()).said[path.name] = said
        info = next((folder for folder in path.parents if is_info(folder.name)), None)
        if info is not None:
            beside = self._folders.setdefault(info.parent, FolderLicences()).distributions
            beside.setdefault(info.name, FolderLicences()).said[str(path.relative_to(info))] = said

    def licence_of(self, name: str) -> str | None:
        """Return the SPDX expression for a file of the archive; None where no licence file there speaks of it.

        Where not all licence files could be read, what is under none of those that were is "unknown".
        """
        path = PurePosixPath(name)
        return nearest_licence(path, path.parents, self._folders.get) or (None if self.is_whole else UNKNOWN)


def find_archive_licences(file: InputFile, limits: ReadLimits, sandbox: Sandbox) -> ArchiveLicences:
    """Return what the licence files of an archive say, read in the sandbox; no damage is raised here."""
    licences = ArchiveLicences()
    num_files = 0
    try:
        for piece in sandbox.read(file, "archive_licence_files", limits):
            if isinstance(piece, Document) and num_files < _MAX_FILES:
                licences.add_(_name_in(file, piece), piece.text)
                num_files += 1
            elif isinstance(piece, Document) or piece.reason != PASSED_OVER:
                licences.is_whole = False
    except Unusable:
        licences.is_whole = False
    return licences


def marked_archive(
    pieces: Iterable[Document | Drop], file: InputFile, limits: ReadLimits, sandbox: Sandbox
) -> Iterator[Document | Drop]:
    """Yield the pieces of an archive, documents that name no licence of their own with that of the tree it holds."""
    licences = find_archive_licences(file, limits, sandbox)
    for piece in pieces:
        yield piece if isinstance(piece, Drop) else with_licence(piece, licences.licence_of(_name_in(file, piece)))


def _name_in(file: InputFile, piece: Document) -> str:
    """Return the name of a member; parts of one (#3, /0) look like files below it, which are under the same licence."""
    return piece.id.removeprefix(f"{file.origin}#")
