"""Zips that an office writes, its parts and what they say of the document."""

from __future__ import annotations

import posixpath
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

from headwater.corpus.read.archive import member_bytes, open_zip
from headwater.corpus.read.html_metadata import iso_date, language_of
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.limits import Expansion, ReadLimits, Unusable
from headwater.corpus.read.xml import parse_xml

_OLD = b"\xd0\xcf\x11\xe0"
_PROPERTIES = ("title", "creator", "initial-creator", "created", "creation-date", "date", "language")


class Package:
    """The members of such a zip, each read within the limits of a file."""

    def __init__(self, archive: zipfile.ZipFile, num_bytes: int, limits: ReadLimits, form: str) -> None:
        self._archive, self._num_bytes, self._max_bytes, self._form = archive, num_bytes, limits.max_file_bytes, form
        self._expansion = Expansion()

    def read(self, name: str, is_needed: bool = False) -> bytes:
        """Return a member, b"" where there is none. Raises Unusable, damaged_FORM where it is needed."""
        try:
            return member_bytes(self._archive, name, self._max_bytes, self._expansion, self._num_bytes)
        except KeyError:
            if is_needed:
                raise Unusable(f"damaged_{self._form}", f"its text, {name[:100]!r}, isn't in it") from None
            return b""

    def related(self, part: str) -> list[tuple[str, str, str]]:
        """Return what a part is related to: the kind of relation, its id, the name of the other part."""
        folder, name = posixpath.split(part)
        found: list[tuple[str, str, str]] = []

        def start(element: str, attributes: dict[str, str]) -> None:
            if element == "Relationship" and attributes.get("TargetMode") != "External":
                target = posixpath.normpath(posixpath.join("/", folder, attributes.get("Target", "")))
                kind = attributes.get("Type", "").rpartition("/")[2]
                found.append((kind, attributes.get("Id", ""), target.lstrip("/")))

        if data := self.read(posixpath.join(folder, "_rels", f"{name}.rels")):
            parse_xml(data, start, lambda name: None, lambda text: None)
        return found


@contextmanager
def opened(file: InputFile, limits: ReadLimits, form: str) -> Iterator[Package]:
    """Yield the package that a file is. Raises Unusable: not_FORM, damaged_FORM, encrypted."""
    data = file.read_whole(limits.max_file_bytes)
    if data.startswith(_OLD):
        raise Unusable("encrypted", f"it has a password, or is of an older format; save it as .{form} without one")
    if not data.startswith(b"PK\3\4"):
        raise Unusable(f"not_{form}")
    with open_zip(BytesIO(data), form) as archive:
        yield Package(archive, len(data), limits, form)


def properties(data: bytes) -> dict[str, str]:
    """Return title, author, date and language, as the XML of a document's properties says."""
    found: dict[str, str] = {}
    within = ""

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal within
        within = name if name in _PROPERTIES and name not in found else ""

    def text(characters: str) -> None:
        if within:
            found[within] = found.get(within, "") + characters

    def end(name: str) -> None:
        nonlocal within
        within = ""

    if data:
        parse_xml(data, start, end, text)
    first = {name: " ".join(value.split()) for name, value in found.items()}
    author, date = (
        first.get("initial-creator") or first.get("creator", ""),
        first.get("created") or first.get("creation-date"),
    )
    return {
        "title": first.get("title", ""),
        "author": author,
        "date": iso_date(date or first.get("date", "")),
        "language": language_of(first.get("language", "")),
    }
