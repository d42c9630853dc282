"""The files of packages that `headwater corpus fetch` unpacked, with what their manifests say of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from headwater.corpus.document import Document, Drop
from headwater.corpus.fetch.fetch import read_left_out
from headwater.corpus.fetch.names import parse_names
from headwater.corpus.fetch.unpack import FORMAT, FORMAT_VERSION
from headwater.corpus.read.dictd import read_dictd
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.limits import Unusable
from headwater.corpus.read.packages import package_documents
from headwater.corpus.read.rdata import read_rdata
from headwater.corpus.read.sword import read_sword
from headwater.corpus.read.walk import find_files
from headwater.corpus.read.wordnet import read_wordnet
from headwater.errors import DataError
from headwater.files import read_manifest

FILES = "files"  # the reader of a package whose files say by their names what they are
_FILE_READERS = {"rdata": read_rdata, "sword": read_sword, "dictd": read_dictd, "wordnet": read_wordnet}


@dataclass(frozen=True, slots=True)
class FetchedPackage:
    """An unpacked package of a source."""

    name: str
    folder: Path
    manifest: dict[str, Any]

    @property
    def reader(self) -> str:
        return str(self.manifest["reader"])

    @property
    def facts(self) -> dict[str, str]:
        """Metadata of every document of the package that doesn't know better."""
        return {"licence": str(self.manifest["licence"]), "date": str(self.manifest["date"]), "site": self.name}

    def files(self) -> Iterator[tuple[Path, str]]:
        """Yield the package's texts, in order, each with its origin: the package, then the name in it."""
        top = self.folder / "files"
        for path, _ in find_files([str(top)], self.name):
            name = path.relative_to(top).as_posix()
            if any(fnmatchcase(name, pattern) for pattern in self.manifest["texts"]):
                yield path, f"{self.name}/{name}"


def fetched_packages(entries: list[str], fetched_dir: str, source: str) -> tuple[list[FetchedPackage], dict[str, str]]:
    """Return the packages of a source in the order of its settings, and why others were left out.

    Raises DataError when a package was never asked for.
    """
    folder = Path(fetched_dir)
    left_out = read_left_out(folder)
    found: list[FetchedPackage] = []
    missing: dict[str, str] = {}
    for entry in entries:
        package = next((each for each in parse_names(entry) if (folder / each.folder / "manifest.json").exists()), None)
        if package is not None:
            manifest = read_manifest(folder / package.folder, FORMAT, FORMAT_VERSION, DataError)
            found.append(FetchedPackage(str(package), folder / package.folder, manifest))
        elif entry in left_out:
            missing[entry] = left_out[entry]
        else:
            raise DataError(
                f"source {source!r}: {entry} isn't in {folder} (looked from {Path.cwd()}); "
                "`headwater corpus fetch RUN` fetches what a run's sources name, without root"
            )
    return found, missing


def read_special(package: FetchedPackage, source: str, kind: str) -> Iterator[Document | Drop]:
    """Yield the documents of a package whose reader isn't FILES; a file that can't be used is a drop."""
    if package.reader not in _FILE_READERS:
        yield from _shipped(package, source, kind)
        return
    for path, origin in package.files():
        file = InputFile(path, origin, source, kind)
        try:
            yield from _FILE_READERS[package.reader](file)
        except Unusable as error:
            yield file.drop(error.reason, file.num_bytes)


def _shipped(package: FetchedPackage, source: str, kind: str) -> Iterator[Document]:
    """Yield the documents of one of the Python packages of text, which lie in one folder of the package's own name."""
    folders = sorted(path for path in (package.folder / "files").iterdir() if path.is_dir())
    if len(folders) != 1:
        raise DataError(f"source {source!r}: {package.folder} is not whole; remove it and fetch again")
    yield from package_documents(package.reader, folders[0], source, kind)
