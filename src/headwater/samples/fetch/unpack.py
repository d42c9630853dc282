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
from pathlib import Path
from typing import Any

from headwater.errors import DataError
from headwater.files import DigestedFile, digest_json, write_json, write_text
from headwater.samples.fetch.archives import Member
from headwater.samples.fetch.known import Contents, contents_of, is_plain_text
from headwater.sources.settings import PackageName
from headwater.sources.spdx import UNKNOWN

FORMAT, FORMAT_VERSION = "headwater-package", 1
NOTHING_SAYS_IT = "nothing in the package says it"
_MAX_METADATA_BYTES = 4_000_000
_METADATA = ("*.dist-info/METADATA", "*.egg-info/PKG-INFO", "*/PKG-INFO", "PKG-INFO")

LicenceOf = Callable[[str, str], str | None]
"""Given the name and the text of a package's copyright file or metadata, returns the licence it states, if any."""


@dataclass(slots=True)
class _PackageLicence:
    """What a package says of itself."""

    version: str = "unknown"
    licence: str = UNKNOWN
    licence_from: str = NOTHING_SAYS_IT
    copyright: str | None = None

    def take_(self, name: str, text: str, licence_of: LicenceOf) -> None:
        if name.endswith("/copyright"):
            self.copyright = text
        else:  # `control` of a .deb, METADATA or PKG-INFO
            self.version = str(HeaderParser().parsestr(text).get("Version", self.version))
        if name != "control" and (licence := licence_of(name, text)) is not None:
            self.licence, self.licence_from = licence, name


@dataclass(slots=True)
class _Taken:
    """The files taken so far."""

    digests: dict[str, str] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    num_bytes: int = 0
    newest: date = date.min

    def clashes(self, name: str) -> bool:
        """Return whether a file is there in place of this one or of a folder on its way, or a folder in its place."""
        parts = name.split("/")
        on_the_way = {"/".join(parts[:end]) for end in range(1, len(parts) + 1)}
        return name in self.folders or not on_the_way.isdisjoint(self.digests)

    def add_(self, name: str, file: DigestedFile, changed: date) -> None:
        parts = name.split("/")
        self.digests[name] = file.digest
        self.folders |= {"/".join(parts[:end]) for end in range(1, len(parts))}
        self.num_bytes += file.num_bytes
        self.newest = max(self.newest, changed)


def package_key(package: PackageName) -> str:
    """Return what decides which files are taken: with another key a package is unpacked again."""
    return digest_json({"version": FORMAT_VERSION, "contents": asdict(contents_of(package))})


def unpack(
    package: PackageName, members: Iterable[Member], folder: Path, facts: dict[str, Any], licence_of: LicenceOf
) -> dict[str, Any]:
    """Write a package's text to `folder`, its manifest last, and return the manifest; `facts` go into it, too.

    Raises DataError where there is no text in the package.
    """
    contents, stated, taken = contents_of(package), _PackageLicence(), _Taken()
    for member in members:
        if _is_metadata(member.name):
            stated.take_(member.name, _text(member), licence_of)
        elif _is_kept(member.name, contents) and not taken.clashes(member.name):
            _take_(taken, member, folder / "files")
    if not taken.digests:
        raise DataError(
            f"{package} {stated.version} holds no file that headwater knows as text; take it out of `fetched`, or "
            "unpack it yourself and name its files in `paths`"
        )
    if stated.copyright is not None:
        write_text(folder / "copyright", stated.copyright)
    manifest = _manifest(package, contents, stated, taken) | facts
    write_json(folder / "manifest.json", manifest)
    return manifest


def _is_metadata(name: str) -> bool:
    is_copyright = name.startswith("usr/share/doc/") and name.endswith("/copyright")
    return name == "control" or is_copyright or any(fnmatchcase(name, pattern) for pattern in _METADATA)


def _text(member: Member) -> str:
    """Return the beginning of a licence file: licences are long, and none is longer."""
    data = b""
    for block in member.blocks():
        data += block
        if len(data) > _MAX_METADATA_BYTES:
            break
    return data.decode("utf-8", "replace")


def _is_kept(name: str, contents: Contents) -> bool:
    return contents.is_kept(name) if contents.keep else is_plain_text(name)


def _take_(taken: _Taken, member: Member, folder: Path) -> None:
    with DigestedFile(folder / member.name) as file:
        for block in member.blocks():
            file.write(block)
        taken.add_(member.name, file, member.date)


def _manifest(package: PackageName, contents: Contents, stated: _PackageLicence, taken: _Taken) -> dict[str, Any]:
    licence, source = (stated.licence, stated.licence_from)
    if contents.licence is not None:
        licence, source = contents.licence, "headwater's own list, from the package's licence files"
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "key": package_key(package),
        "package": str(package),
        "version": stated.version,
        "licence": licence,
        "licence_from": source,
        "date": taken.newest.isoformat(),
        "reader": contents.reader,
        "texts": list(contents.texts),
        "files": len(taken.digests),
        "bytes": taken.num_bytes,
        "digest": digest_json(taken.digests),
    }
