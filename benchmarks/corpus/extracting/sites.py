"""The sites: pages as they are served, each with the text that its source shows.

Debian packages that hold both are the first five (`apt-get download`, `dpkg-deb -x`); the sixth is Zyte's article
extraction benchmark (news and blog pages, labelled by people), where a copy of it is given. Every tenth of its 181
pages was looked at while the extractor was made, so those are left out.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from extracting import asciidoc, markdown, rst

MIN_WORDS = 50  # of a true text: a page that only points at others tells nothing


@dataclass(frozen=True, slots=True)
class Page:
    name: str
    html: bytes
    truth: str


@dataclass(frozen=True, slots=True)
class Site:
    name: str
    package: str
    source: str
    is_held_out: bool
    """Whether it was looked at only after the extractor was done."""


SITES = [
    Site("python", "python3.13-doc", "Sphinx, reStructuredText", False),
    Site("git", "git-doc", "AsciiDoc", False),
    Site("node", "nodejs-doc", "Markdown", False),
    Site("policy", "debian-policy", "Sphinx, reStructuredText", True),
    Site("aiohttp", "python-aiohttp-doc", "Sphinx (alabaster), reStructuredText", True),
    Site("articles", "zyte", "labelled by people", True),
]


def pages(site: Site, folder: Path) -> Iterator[Page]:
    """Yield the pages of a site with a truth of at least MIN_WORDS words, in order."""
    found = {
        "git": _git,
        "node": _node,
        "articles": _zyte,
    }.get(site.name, _sphinx)(folder / site.package)
    yield from (page for page in found if len(page.truth.split()) >= MIN_WORDS)


def _sphinx(folder: Path) -> Iterator[Page]:
    sources_folder = next(iter(sorted(folder.rglob("_sources"))))
    sources = rst.read_sources(sources_folder)
    titles = rst.labels(sources)
    for name, source in sources.items():
        page = sources_folder.parent / f"{name}.html"
        truth = rst.visible_words(source, titles) if page.is_file() else None
        if truth is not None:
            yield Page(name, page.read_bytes(), truth)


def _git(folder: Path) -> Iterator[Page]:
    for page in sorted(folder.rglob("*.html")):
        source = page.with_suffix(".txt")
        truth = asciidoc.visible_words(source) if source.is_file() else None
        if truth is not None:
            yield Page(page.stem, page.read_bytes(), truth)


def _node(folder: Path) -> Iterator[Page]:
    for source in sorted(folder.rglob("api/*.md*")):
        page = source.parent / f"{source.name.split('.')[0]}.html"
        name = page if page.is_file() else page.with_name(page.name + ".gz")
        if name.is_file():
            yield Page(page.stem, _bytes(name), markdown.visible_words(_bytes(source).decode()))


def _zyte(folder: Path) -> Iterator[Page]:
    if not folder.is_dir():
        return
    truths = json.loads((folder / "ground-truth.json").read_text(encoding="utf-8"))
    for number, (name, truth) in enumerate(sorted(truths.items())):
        if number % 10:
            yield Page(name, _bytes(folder / "html" / f"{name}.html.gz"), truth["articleBody"])


def _bytes(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
