"""One package to a folder: the files that are its text, its copyright file, and a manifest of what it is.

FOLDER/manifest.json    package, version, digests, licence, date, and how the files are read
FOLDER/copyright        the package's own words about its licence, where it has some
FOLDER/files/…          the files, under their names in the package
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from datetime import date
from email.parser import HeaderParser
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from headwater.core.errors import DataError
from headwater.core.files import DigestedFile, digest_json, write_json, write_text
from headwater.corpus.samples.fetch.archives import FetchedMember
from headwater.corpus.samples.fetch.known import Contents, contents_of
from headwater.corpus.sources.settings import PackageName
from headwater.corpus.sources.spdx import UNKNOWN

FORMAT, FORMAT_VERSION = "headwater-package", 1
NOTHING_SAYS_IT = "nothing in the package says it"
_MAX_METADATA_BLOCKS = 4  # of a megabyte
_METADATA = ("*.dist-info/METADATA", "*.egg-info/PKG-INFO", "*/PKG-INFO", "PKG-INFO")

LicenceOf = Callable[[str, str], str | None]
"""Given the name and the text of a package's copyright file or metadata, returns the licence it states, if any."""


def package_key(package: PackageName) -> str:
    """Return what decides which files are taken: with another key a package is unpacked again."""
    return digest_json({"version": FORMAT_VERSION, "contents": asdict(contents_of(package))})


def unpack(
    package: PackageName, members: Iterable[FetchedMember], folder: Path, facts: dict[str, Any], licence_of: LicenceOf
) -> dict[str, Any]:
    """Write a package's text to `folder`, its manifest last, and return the manifest; `facts` go into it, too.

    Raises DataError where there is no text in the package.
    """
    contents, unpacked = contents_of(package), _Unpacked(licence_of)
    for member in members:
        if _is_metadata(member.name):
            unpacked.note_(member)
        elif contents.is_kept(member.name) and not unpacked.clashes(member.name):
            unpacked.write_(member, folder / "files")
    if not unpacked.digests:
        raise DataError(
            f"{package} {unpacked.version} holds no file that headwater knows as text; take it out of `fetched`, or "
            "unpack it yourself and name its files in `paths`"
        )
    if unpacked.copyright is not None:
        write_text(folder / "copyright", unpacked.copyright)
    manifest = unpacked.manifest(package, contents) | facts
    write_json(folder / "manifest.json", manifest)
    return manifest


def _is_metadata(name: str) -> bool:
    is_copyright = name.startswith("usr/share/doc/") and name.endswith("/copyright")
    return name == "control" or is_copyright or any(fnmatchcase(name, pattern) for pattern in _METADATA)


@dataclass(slots=True)
class _Unpacked:
    """The files taken so far, and what the package says of itself."""

    licence_of: LicenceOf
    digests: dict[str, str] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    num_bytes: int = 0
    newest: date = date.min
    version: str = "unknown"
    licence: str = UNKNOWN
    licence_from: str = NOTHING_SAYS_IT
    copyright: str | None = None

    def note_(self, member: FetchedMember) -> None:
        """Note what a file says of the package, by its beginning: licences are long, and none is longer."""
        name, text = member.name, b"".join(islice(member.blocks(), _MAX_METADATA_BLOCKS)).decode("utf-8", "replace")
        if name.endswith("/copyright"):
            self.copyright = text
        else:  # `control` of a .deb, METADATA or PKG-INFO
            self.version = str(HeaderParser().parsestr(text).get("Version", self.version))
        if name != "control" and (licence := self.licence_of(name, text)) is not None:
            self.licence, self.licence_from = licence, name

    def clashes(self, name: str) -> bool:
        """Return whether a file is there in place of this one or of a folder on its way, or a folder in its place."""
        return name in self.folders or not {name, *_folders_of(name)}.isdisjoint(self.digests)

    def write_(self, member: FetchedMember, folder: Path) -> None:
        with DigestedFile(folder / member.name) as file:
            for block in member.blocks():
                file.write(block)
            self.digests[member.name] = file.digest
            self.num_bytes += file.num_bytes
        self.folders |= _folders_of(member.name)
        self.newest = max(self.newest, member.date)

    def manifest(self, package: PackageName, contents: Contents) -> dict[str, Any]:
        ours = (contents.licence, "headwater's own list, from the package's licence files")
        licence, source = (self.licence, self.licence_from) if contents.licence is None else ours
        return {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "key": package_key(package),
            "package": str(package),
            "version": self.version,
            "licence": licence,
            "licence_from": source,
            "date": self.newest.isoformat(),
            "reader": contents.reader,
            "texts": list(contents.texts),
            "files": len(self.digests),
            "bytes": self.num_bytes,
            "digest": digest_json(self.digests),
        }


def _folders_of(name: str) -> set[str]:
    return {str(folder) for folder in PurePosixPath(name).parents}
