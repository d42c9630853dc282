"""Rebuilds the labelled pages of benchmarks/data/filtering from packages: the repository has no texts.

    mkdir -p DEBS
    for p in apache2-doc erlang-doc libxml2-doc postgresql-doc-17 python3.13-doc python-django-doc python-numpy-doc \\
        rust-doc sqlite3-doc; do apt-get download $p && dpkg-deb -x ${p}_*.deb DEBS/$p; done
    python benchmarks/corpus/labelled_pages.py DEBS [--texts FILE]

Prints which pages come out as they were labelled, by the digest of their text. A text that differs (another version
of the package, a changed reader) keeps its label, which may no longer fit: such pages are to be read again. --texts
writes the pages with their texts and today's digests, one JSON object a line.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headwater.corpus.clean import clean
from headwater.corpus.read.html import decode, page_text
from headwater.corpus.read.limits import Unusable

LABELS = Path(__file__).parents[1] / "data" / "filtering" / "labels.jsonl"
MAX_CHARACTERS = 2550
LINK_FARM = "the titles of other pages"
Page = dict[str, Any]  # a label; rebuilt, with its "text"


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """Labelled pages with their texts. Every label is in `pages` or in `lost`."""

    pages: list[Page]
    differing: list[str]
    """Ids of pages whose text isn't the one that was labelled."""
    lost: dict[str, str]
    """Why a page couldn't be rebuilt, by its id."""

    def summary(self) -> str:
        num_labels = len(self.pages) + len(self.lost)
        same = len(self.pages) - len(self.differing)
        lines = [f"{same} of {num_labels} pages as they were labelled, {len(self.differing)} with another text"]
        if self.differing:
            lines.append(f"another text: {' '.join(self.differing)}")
        lines += [f"lost: {page}: {why}" for page, why in self.lost.items()]
        return "\n".join(lines)


def read_labels() -> list[Page]:
    return [json.loads(line) for line in LABELS.read_text(encoding="utf-8").splitlines()]


def rebuild(labels: list[Page], folder: Path) -> Rebuilt:
    """Return the pages that `labels` name, read from packages unpacked as folder/PACKAGE/usr/share/...

    Raises SystemExit, naming the packages, where one isn't there.
    """
    _require_packages({label["site"] for label in labels}, folder)
    read: dict[str, str] = {}
    whys: dict[str, str] = {}
    for origin in dict.fromkeys(label["origin"] for label in labels):
        path = folder / origin
        try:
            read[origin] = cut(clean(page_text(decode(path.read_bytes()))[0], "web"))
        except FileNotFoundError:
            whys[origin] = f"no file {path}: another version of the package?"
        except Unusable as error:
            whys[origin] = f"{path}: the reader refuses it: {error}"
    found = [label for label in labels if label["origin"] in read]
    pages = []
    for label in found:
        text = read[label["origin"]]
        if "made" in label:
            titles = [read[each["origin"]].split("\n")[0] for each in found if _is_read(each, label["split"])]
            text = make(label["made"], text, titles)
        pages.append(label | {"text": text})
    differing = [page["id"] for page in pages if digest(page["text"]) != page["sha256"]]
    return Rebuilt(pages, differing, {each["id"]: whys[each["origin"]] for each in labels if each["origin"] in whys})


def _is_read(label: Page, split: str) -> bool:
    return "made" not in label and label["split"] == split


def _require_packages(packages: set[str], folder: Path) -> None:
    missing = sorted(package for package in packages if not (folder / package / "usr").is_dir())
    if missing:
        commands = [f"  apt-get download {each} && dpkg-deb -x {each}_*.deb {folder / each}" for each in missing]
        commands.insert(0, f"  mkdir -p {folder}")
        raise SystemExit("\n".join([f"{folder} has no unpacked {', '.join(missing)}; on Debian 13:", *commands]))


def cut(text: str, limit: int = MAX_CHARACTERS) -> str:
    """Return the beginning of a text, to the end of a line where one ends in the last third of `limit` characters."""
    if len(text) <= limit:
        return text
    end = text.rfind("\n", limit * 2 // 3, limit)
    return text[: end if end > 0 else limit].rstrip()


def digest(text: str) -> str:
    """Return the first 16 hex digits of the text's SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def make(how: str, text: str, titles: list[str]) -> str:
    """Return the bad page that `how` makes of a good one's text, or of the titles of the pages beside it."""
    return cut("\n".join(titles[::2]) if how == LINK_FARM else MAKERS[how](text))


def utf8_read_as_cp1252(text: str) -> str:
    return text.encode().decode("cp1252", errors="ignore")


def cp1252_read_as_utf8(text: str) -> str:
    return text.encode("cp1252", errors="replace").decode(errors="replace")


def letters_in_disorder(text: str) -> str:
    """Return every second word backwards, of the others every second letter and then the rest."""
    words = text.split()
    return " ".join(word[::-1] if number % 2 else word[::2] + word[1::2] for number, word in enumerate(words))


def one_paragraph_nine_times(text: str) -> str:
    return "\n\n".join([max(text.split("\n"), key=len)] * 9)


MAKERS: dict[str, Callable[[str], str]] = {
    "UTF-8 read as cp1252": utf8_read_as_cp1252,
    "cp1252 read as UTF-8": cp1252_read_as_utf8,
    "letters of the words in disorder": letters_in_disorder,
    "one paragraph nine times": one_paragraph_nine_times,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--texts", type=Path, metavar="FILE")
    options = parser.parse_args()
    rebuilt = rebuild(read_labels(), options.folder)
    print(rebuilt.summary())
    if options.texts:
        lines = [json.dumps(page | {"sha256": digest(page["text"])}, ensure_ascii=False) for page in rebuilt.pages]
        options.texts.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
