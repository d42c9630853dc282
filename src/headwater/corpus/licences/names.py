"""The names that people write for licences, as SPDX expressions: "Apache 2.0", "CC BY-SA 3.0 Unported", addresses.

A name is understood where all of the text is: "MIT, see also …" is none, and "CC BY 4.0 NC" is not CC BY.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

from headwater.corpus.sources.spdx import MAX_EXPRESSION, UNKNOWN, canonical, is_expression
from headwater.corpus.toml_tables import toml_table

_MAX_NAME = 300  # characters of one name
_WORD = re.compile(r"[^\W_]+\+?")
_IDENTIFIER = re.compile(r"(?<![\w/.:])(?=[\w.+-]*[A-Z\d])[A-Za-z][\w.]*(?:-[\w.]*\w\+?)+(?![\w/])")  # BSD-3-Clause
_ADDRESS = re.compile(
    r"<?\b(?:https?://)?(?:www\.)?(?:(?:opensource|spdx|gnu)\.org/licen[cs]es/(?:old-licenses/)?(?P<listed>[\w.+-]+?)"
    r"(?:-license)?(?:\.(?:html|php|txt|en\.html))?|apache\.org/licenses/LICENSE-(?P<apache>2\.0)(?:\.txt|\.html)?"
    r"|creativecommons\.org/licenses/(?P<terms>by[a-z-]*)/(?P<version>\d\.\d)(?:/(?:deed\.\w+|legalcode)?)?"
    r"|creativecommons\.org/publicdomain/(?P<zero>zero)/1\.0(?:/(?:deed\.\w+|legalcode)?)?"
    r"|(?:[\w-]+\.)?(?P<mit>mit-license)\.org|(?P<unlicense>unlicense)\.org)/?(?=[\s>)\]\"',;]|\.?(?:\s|$))>?",
    re.IGNORECASE,
)
# who holds the rights, which says nothing of what others may do: "Copyright 1911 A. Author"
_HOLDER = re.compile(
    r"(?:©|\([Cc]\)|[Cc]opyright|COPYRIGHT)(?:[ :]+(?:©|\([Cc]\)))?"
    r"(?:[ ,]+(?:[Bb]y|the|and|of|de|van|von|&|[A-Z\d][\w.'’-]*)){1,12}"
)
_DENIES = re.compile(
    r"\b(?:reserved|licen[cs]\w*|gpl|public|common\w*|cc|only|use|not?|forbidden|private)\b", re.IGNORECASE
)
_CONNECTOR = re.compile(r"\s*,?\s+(or|and)\s+|\s*(/)\s*", re.IGNORECASE)


@cache
def word_lists() -> dict[str, Any]:
    """Return what words.toml lists: sets of words, and of each list of parts what finds one of them."""
    table = toml_table("headwater.corpus.licences", "words")
    return {name: frozenset(each.split()) if isinstance(each, str) else _finder(each) for name, each in table.items()}


def _finder(parts: list[str]) -> re.Pattern[str]:
    """Return what finds one of some parts, however a comment wraps their words."""
    return re.compile("|".join(parts).replace(" ", r"(?:[\s*#/]+)"), re.IGNORECASE | re.DOTALL)


def words_at(text: str) -> tuple[list[str], list[int]]:
    """Return the words of a text in lower case, "licence" spelt as the SPDX list does, and where each begins."""
    found = list(_WORD.finditer(text))
    return [re.sub(r"licen[cs]e", "license", each.group().lower()) for each in found], [each.start() for each in found]


def names_in(text: str) -> list[tuple[str, int, int]]:
    """Return the licences that a text names, each with the characters of its name, in order."""
    found = [(name, each.start(), each.end()) for each in _ADDRESS.finditer(text) if (name := _at(each))]
    for each in _IDENTIFIER.finditer(text):
        if (known := canonical(each.group())) and "LicenseRef" not in known:
            found.append((known, each.start(), each.end()))
    words, starts = words_at(text)
    joined = " ".join(words)
    for each in _spoken().finditer(joined):
        name = each.lastgroup
        assert name is not None
        at = joined.count(" ", 0, each.start())
        end = at + each.group().count(" ")
        stop = starts[end] + len(words[end])
        found.append((_identifier(int(name[1:]), each.group()), starts[at], stop))
    longest: list[tuple[str, int, int]] = []
    for name, start, stop in sorted(found, key=lambda each: (each[1], -each[2])):
        if not longest or start >= longest[-1][2]:
            longest.append((name, start, stop))
    return longest


@lru_cache(maxsize=4096)  # of short texts alone, which stay in memory
def _spdx_of(text: str) -> str | None:
    return canonical(text) or _named(text) or _joined_by_hand(text)


def spdx_of(text: str) -> str | None:
    """Return the SPDX expression that a licence's name, identifier or address stands for; None if it isn't known.

    It is known where all of the text is understood: a name beside words that may narrow it down is none.
    """
    text = " ".join(text.split()).strip(" .\"'<>")
    return _spdx_of(text) if 0 < len(text) <= MAX_EXPRESSION else None


def _named(text: str) -> str | None:
    """Return the licence of a text that is names of the same and words that say nothing: "MPL 2.0 (https://…)"."""
    found = names_in(text)
    rest = list(text)
    for _, start, end in found:
        rest[start:end] = " " * (end - start)
    is_one = len({base_of(name) for name, _, _ in found}) == 1
    return found[0][0] if is_one and set(words_at("".join(rest))[0]) <= word_lists()["fillers"] else None


def _joined_by_hand(text: str) -> str | None:
    """Return what "MIT/Apache-2.0" and Debian's "GPL-2+ or Artistic" stand for, each part understood by itself."""
    parts = _CONNECTOR.split(text)
    names, signs = parts[::3], ["OR" if slash else word.upper() for word, slash in zip(parts[1::3], parts[2::3])]
    found = [canonical(name) or _named(name) for name in names] if 1 < len(names) < 6 else [None]
    if None in found or any(name.count("(") != name.count(")") for name in names):
        return None
    return canonical(f"({found[0]})" + "".join(f" {sign} ({each})" for sign, each in zip(signs, found[1:])))


def all_of(names: Iterable[str]) -> str:
    """Return the expression of licences that all apply, "" where none is named.

    Where one isn't understood that name, or "unknown" in place of a long one: it stands for all of them.
    """
    found: dict[str, None] = {}
    for name in names:
        if (known := spdx_of(name)) is None:
            return handed_on(name)
        found[known] = None
    return _joined(" AND ", found)


def any_of(expressions: Iterable[str]) -> str:
    """Return the expression of licences of which one may be chosen, "" of none, "unknown" of very many."""
    return _joined(" OR ", dict.fromkeys(expressions))


def _joined(sign: str, expressions: Iterable[str]) -> str:
    joined = sign.join(f"({each})" for each in expressions)
    return joined and (canonical(joined) or UNKNOWN)


def stated_licence(names: Iterable[str]) -> str:
    """Return `all_of` the names and addresses; who holds the rights counts where nothing else is said."""
    texts = [text for name in names if (text := " ".join(name.split()))]
    named = [text for text in texts if not names_holder_alone(text)]
    return all_of(named or texts)


def handed_on(name: str) -> str:
    """Return a name for the step that reads it; "unknown" for a text too long to be one: its end may be what counts."""
    return name if len(name) <= _MAX_NAME or spdx_of(name) is not None else UNKNOWN


def names_holder_alone(text: str) -> bool:
    """Return whether a text says who holds the rights, and nothing of what others may do."""
    text = " ".join(text.replace("©", "© ").split()).strip(" .")
    return _HOLDER.fullmatch(text) is not None and not _DENIES.search(text)


def licence_at(address: str) -> str | None:
    """Return the licence that stands at an address, None where the text is none or its licence isn't known."""
    return spdx_of(address) if "/" in address and " " not in address.strip() else None


def base_of(identifier: str) -> str:
    return identifier.removesuffix("-only").removesuffix("-or-later")


def _at(address: re.Match[str]) -> str | None:
    """Return the licence of an address of those who publish licences."""
    found = address.groupdict()
    if found["terms"]:
        return canonical(f"CC-{found['terms']}-{found['version']}")
    fixed = {"apache": "Apache-2.0", "zero": "CC0-1.0", "mit": "MIT", "unlicense": "Unlicense"}
    listed = next((name for key, name in fixed.items() if found[key]), found["listed"] or "")
    return canonical(listed) if is_expression(listed) else None


@cache
def _rows() -> list[tuple[str, re.Pattern[str]]]:
    table = (files("headwater.corpus.licences") / "names.tsv").read_text(encoding="utf-8")
    return [(name, re.compile(pattern)) for name, pattern in (line.split("\t") for line in table.splitlines())]


@cache
def _spoken() -> re.Pattern[str]:
    """Return what finds any name of names.tsv among words, with "the" before and "license" behind it."""
    nameless = [re.sub(r"\(\?P<\w+>", "(?:", row.pattern) for _, row in _rows()]
    parts = sorted(((f"(?P<n{at}>{each})", at) for at, each in enumerate(nameless)), key=lambda each: each[1])
    return re.compile(rf"(?<!\S)(?:{'|'.join(part for part, _ in parts)})(?: licensed?)?(?!\S)")


def _identifier(row: int, words: str) -> str:
    name, pattern = _rows()[row]
    match = pattern.fullmatch(words) or pattern.fullmatch(re.sub(r" licensed?$", "", words))
    assert match is not None
    found = match.groupdict()
    version = f"{found.get('version') or 1}.{found.get('minor') or 0}"
    if name == "GNU":
        signs = {"AGPL": "affero|agpl", "LGPL": "lesser|library|lgpl", "GFDL": "documentation|fdl"}
        letters = next((letters for letters, sign in signs.items() if re.search(sign, found["family"])), "GPL")
        is_later = not found["version"] or "only" not in (found["later"] or "only")
        first = {"LGPL": "2.0", "GFDL": "1.1"}.get(letters, "1.0")
        return f"{letters}-{version if found['version'] else first}-{'or-later' if is_later else 'only'}"
    if name == "CC":
        terms = {"NC": r"\bnc\b|commercial", "ND": r"\bnd\b|deriv", "SA": r"\bsa\b|alike"}
        return "-".join(["CC-BY", *(sign for sign, each in terms.items() if re.search(each, found["terms"])), version])
    return f"{name}-{version}" if "version" in found else name
