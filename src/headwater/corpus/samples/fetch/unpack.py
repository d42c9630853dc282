"""One package to a folder: its texts, its copyright file, and a manifest of what it is.

FOLDER/manifest.json    package, version, digests, licence, date
FOLDER/copyright        the package's own words about its licence, where it has some
FOLDER/texts.jsonl      what is in its files that are text, as a source of the kind reads them
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from email.parser import HeaderParser
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from headwater.core.errors import DataError
from headwater.core.files import DigestedFile, digest_json, discard, write_json, write_text
from headwater.corpus.document import Document
from headwater.corpus.licences.files import of_package_file
from headwater.corpus.read.source import read_files
from headwater.corpus.read.walk import ListedFile
from headwater.corpus.samples.fetch.archives import FetchedMember
from headwater.corpus.samples.fetch.known import Contents, contents_of
from headwater.corpus.samples.packages.dictd import read_dictd, read_wordnet
from headwater.corpus.samples.packages.installed import PACKAGES, package_texts
from headwater.corpus.samples.packages.rdata import read_rdata
from headwater.corpus.samples.packages.sword import read_sword
from headwater.corpus.samples.texts import SampleText, as_record, write_lines
from headwater.corpus.sources.formats import skip_reason
from headwater.corpus.sources.settings import CorpusSettings, Kind, PackageName
from headwater.corpus.sources.spdx import UNKNOWN

FORMAT, FORMAT_VERSION = "headwater-package", 2
TEXTS_FILE = "texts.jsonl"
NOTHING_SAYS_IT = "nothing in the package says it"
_MAX_METADATA_BLOCKS = 4  # of a megabyte
_METADATA = ("*.dist-info/METADATA", "*.egg-info/PKG-INFO", "*/PKG-INFO", "PKG-INFO")

_READERS = {"rdata": read_rdata, "sword": read_sword, "dictd": read_dictd, "wordnet": read_wordnet}


def package_key(package: PackageName, kind: Kind) -> str:
    """Return what decides which files are taken, and how they are read: with another key a package is fetched again."""
    return digest_json({"version": FORMAT_VERSION, "kind": kind, "contents": asdict(contents_of(package))})


def unpack(
    package: PackageName, kind: Kind, members: Iterable[FetchedMember], folder: Path, facts: dict[str, Any]
) -> dict[str, Any]:
    """Write a package's text to `folder`, its manifest last, and return the manifest; `facts` go into it, too.

    The texts are those of a source of this kind. Raises DataError where there is no text in the package.
    """
    contents, unpacked = contents_of(package), _Unpacked()
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
    said = unpacked.facts(package, contents)
    texts = (replace(text, meta={**said, **text.meta}) for text in _texts(package, contents, folder / "files", kind))
    num_texts = write_lines(folder / TEXTS_FILE, map(as_record, texts))
    discard(folder / "files")
    manifest = unpacked.manifest(package, kind, contents) | {"documents": num_texts} | facts
    write_json(folder / "manifest.json", manifest)
    return manifest


def _texts(package: PackageName, contents: Contents, top: Path, kind: Kind) -> Iterator[SampleText]:
    """Yield the texts in the files of a package, in the order of their names."""
    if contents.reader in PACKAGES:
        folders = sorted(path for path in top.iterdir() if path.is_dir())
        yield from package_texts(contents.reader, folders[0], str(package))  # a folder of the package's own name
        return
    files = [(path, path.relative_to(top).as_posix()) for path in _sorted_files(top)]
    if contents.reader == "files":
        listed = (ListedFile(path, f"{package}/{name}") for path, name in files)
        source = CorpusSettings.model_validate({"sources": {"package": {"kind": kind, "paths": [str(top)]}}})
        pieces = read_files(listed, "package", source.model_copy(update={"max_document_characters": sys.maxsize}))
        yield from (
            SampleText(each.text, each.id, each.origin, each.meta) for each in pieces if isinstance(each, Document)
        )
        return
    for path, name in files:
        if any(fnmatchcase(name, pattern) for pattern in contents.texts):
            yield from _READERS[contents.reader](path, f"{package}/{name}")


def _sorted_files(top: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(top):
        folders[:] = sorted(name for name in folders if not skip_reason(name))
        yield from (Path(folder, name) for name in sorted(names) if not skip_reason(name))


def _is_metadata(name: str) -> bool:
    is_copyright = name.startswith("usr/share/doc/") and name.endswith("/copyright")
    return name == "control" or is_copyright or any(fnmatchcase(name, pattern) for pattern in _METADATA)


@dataclass(slots=True)
class _Unpacked:
    """The files taken so far, and what the package says of itself."""

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
        if name != "control" and (licence := of_package_file(name, text)) is not None:
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

    def facts(self, package: PackageName, contents: Contents) -> dict[str, str]:
        """Return metadata of every text that doesn't know better.

        Without a licence where nothing in the package names one: then what the run file says of the source counts.
        """
        licence = contents.licence or (None if self.licence_from == NOTHING_SAYS_IT else self.licence)
        facts = {"date": self.newest.isoformat(), "site": str(package)}
        return facts if licence is None else {"licence": licence, **facts}

    def manifest(self, package: PackageName, kind: Kind, contents: Contents) -> dict[str, Any]:
        ours = (contents.licence, "headwater's own list, from the package's licence files")
        licence, source = (self.licence, self.licence_from) if contents.licence is None else ours
        return {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "key": package_key(package, kind),
            "package": str(package),
            "version": self.version,
            "licence": licence,
            "licence_from": source,
            "date": self.newest.isoformat(),
            "files": len(self.digests),
            "bytes": self.num_bytes,
            "digest": digest_json(self.digests),
        }


def _folders_of(name: str) -> set[str]:
    return {str(folder) for folder in PurePosixPath(name).parents}
