"""Which files of a package are its text, how they are read, and under which licence the text is.

What known.toml doesn't list is unpacked by a general rule, and its licence read from the package's own licence files.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

from headwater.corpus.sources.formats import format_of
from headwater.corpus.sources.settings import PackageName
from headwater.corpus.toml_tables import toml_table


@dataclass(frozen=True, slots=True)
class Contents:
    """What to take of a package.

    `keep` and `leave` are patterns of names inside it, in which * stands for slashes, too. `texts` are those of the
    kept files that are documents, where others are kept beside them. `licence` is set where the package's own speaks of
    its program and not of its text, or in words that no program reads.
    """

    keep: tuple[str, ...] = ()
    leave: tuple[str, ...] = ()
    texts: tuple[str, ...] = ("*",)
    reader: str = "files"
    licence: str | None = None
    is_sdist: bool = False

    def is_kept(self, name: str) -> bool:
        """Return whether a file is taken; of a package that isn't listed, whether it is a page or a text."""
        return _matches(name, self.keep) and not _matches(name, self.leave) if self.keep else _is_plain_text(name)


_INDEX_PAGES = ("*/genindex*.html", "*/py-modindex.html", "*/search.html", "*/_modules/*", "*/_sources/*")
# what Debian adds to every package, and what isn't text
_PACKAGING_FILES = (
    *("*/changelog*", "*/copyright", "*/NEWS*", "*/README.Debian*", "*/TODO*", "*/AUTHORS*"),
    *("*/man/*", "*/info/*"),
)


@cache
def contents_of(package: PackageName) -> Contents:
    """Return what to take of a package: as known.toml lists it, or by the rule for those that aren't there."""
    listed, name = toml_table("headwater.corpus.samples.fetch", "known"), str(package)
    found = dict(listed.get(name) or next((each for key, each in listed.items() if fnmatchcase(name, key)), {}))
    if found.pop("has_index_pages", False):
        found["leave"] = [*_INDEX_PAGES, *found.get("leave", [])]
    values: dict[str, Any] = {key: tuple(each) if isinstance(each, list) else each for key, each in found.items()}
    return Contents(**values)


def _is_plain_text(name: str) -> bool:
    is_text = "." in name.rsplit("/", 1)[-1] and format_of(name) in ("text", "html", "jsonl")
    return is_text and not _matches(name, (*_PACKAGING_FILES, *_INDEX_PAGES))


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
