"""The names that people write for licences, as SPDX expressions: "Apache 2.0", "CC BY-SA 3.0 Unported", addresses.

A name is understood where all of the text is: "MIT, see also …" is none, and "CC BY 4.0 NC" is not CC BY.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache, lru_cache

from headwater.corpus.licences.words import finder, listed_names, phrases, words_of
from headwater.corpus.sources.spdx import MAX_EXPRESSION, UNKNOWN, canonical

_MAX_NAME, _MAX_NAME_WORDS = 300, 12  # characters; words of the longest name of the list
_DENIED = re.compile(
    r"\b(?:not|no|no longer|never|nor|except|unless|without|other than|(?:all )?rights reserved|nc|nd|non-?commercial"
    r"|no ?deriv\w*|proprietary|confidential|forbidden|prohibited|restricted|personal use|only|but)\b|n['’]t\b",
    re.IGNORECASE,
)
# who holds the rights, which says nothing of what others may do: "Copyright 1911 A. Author"
_HOLDER = re.compile(
    r"(?:©|\([Cc]\)|[Cc]opyright|COPYRIGHT)(?:[ :]+(?:©|\([Cc]\)))?"
    r"(?:[ ,]+(?:[Bb]y|the|and|of|de|van|von|&|[A-Z\d][\w.'’-]*)){1,12}"
)
_LICENCE_WORDS = re.compile(r"licen[cs]|gpl|public|common|\bcc", re.IGNORECASE)
_CONNECTOR = re.compile(r"\s*,?\s+(or|and)\s+|\s*(/)\s*", re.IGNORECASE)


def spdx_of(text: str) -> str | None:
    """Return the SPDX expression that a licence's name, identifier or address stands for; None if it isn't known.

    It is known where all of the text is understood: a name beside words that may narrow it down is none.
    """
    text = " ".join(text.split()).strip(" .\"'<>")
    return _spdx_of(text) if 0 < len(text) <= MAX_EXPRESSION else None


@lru_cache(maxsize=4096)  # of short texts alone, which stay in memory
def _spdx_of(text: str) -> str | None:
    return canonical(text) or _all_names(text) or _joined_by_hand(text)


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


def stated_licence(names: Iterable[str]) -> str:
    """Return `all_of` the names and addresses; who holds the rights counts where nothing else is said."""
    texts = [text for name in names if (text := " ".join(name.split()))]
    named = [text for text in texts if not names_holder_alone(text)]
    return all_of(named or texts)


def handed_on(name: str) -> str:
    """Return a name for the step that reads it; "unknown" for a text too long to be one: its end may be what counts."""
    is_name = len(name) <= _MAX_NAME or spdx_of(name) is not None
    return name if is_name else UNKNOWN


def names_holder_alone(text: str) -> bool:
    """Return whether a text says who holds the rights, and nothing of what others may do."""
    text = " ".join(text.replace("©", "© ").split()).strip(" .")
    return _HOLDER.fullmatch(text) is not None and not (_DENIED.search(text) or _LICENCE_WORDS.search(text))


def licence_at(address: str) -> str | None:
    """Return the licence that stands at an address, None where the text is none or its licence isn't known."""
    return spdx_of(address) if "/" in address and " " not in address.strip() else None


def name_at(words: list[str], at: int) -> tuple[str, int] | None:
    """Return the licence whose name begins at a word, and the place behind that name, the longest there is."""
    window = words[at : at + 20]
    joined = " ".join(window)
    ends: list[tuple[int, str]] = []
    for name, pattern in _spoken_names():
        if match := pattern.match(joined):
            ends.append((match.end(), _identifier(name, match)))
    plain, places = _plain(window)
    for count in range(min(_MAX_NAME_WORDS, len(plain)), 0, -1):
        if listed := _listed_names().get(tuple(plain[:count])):
            ends.append((len(" ".join(window[: places[count - 1] + 1])), listed))
            break
    if not ends:
        return None
    end, identifier = max(ends, key=lambda each: each[0])
    return identifier, at + len(joined[:end].split())


def gnu_identifier(family: str, version: str, minor: str | None, later: str | None = None) -> str:
    """Return GPL-2.0-or-later and the like; `family` in GNU's words or letters."""
    signs = {"AGPL": "affero|agpl", "LGPL": "lesser|library|lgpl", "GFDL": "documentation|fdl"}
    letters = next((letters for letters, sign in signs.items() if re.search(sign, family)), "GPL")
    return f"{letters}-{version}.{minor or 0}-{'or-later' if later else 'only'}"


def commons_identifier(terms: str, version: str, minor: str | None) -> str:
    """Return CC-BY-SA-4.0 and the like; `terms` are what is said beside the attribution, in words or letters."""
    signs = {"NC": r"\bnc\b|commercial", "ND": r"\bnd\b|deriv", "SA": r"\bsa\b|alike"}
    found = [sign for sign, words in signs.items() if re.search(words, terms)]
    return "-".join(["CC-BY", *found, f"{version}.{minor or 0}"])


@cache
def _spoken_names() -> list[tuple[str, re.Pattern[str]]]:
    """Return what finds licences that are called otherwise than in the list; of families each way by itself."""
    table = phrases()
    parts = [(name, part) for name, parts in table["families"].items() for part in parts]
    parts += [(name, f"(?:{'|'.join(parts)})(?: licensed?)?") for name, parts in table["names"].items()]
    return [(name, re.compile(rf"{part}(?!\S)")) for name, part in parts]


def _identifier(name: str, match: re.Match[str]) -> str:
    families: dict[str, Callable[..., str]] = {"GNU": gnu_identifier, "CC-BY": commons_identifier}
    return families[name](**match.groupdict()) if name in families else name


@cache
def _listed_names() -> dict[tuple[str, ...], str]:
    """Return the identifiers by their own words and by those of the list's names, with and without "License"."""
    found: dict[tuple[str, ...], str] = {}
    for identifier, name in listed_names():
        for words in (_plain(words_of(each).words)[0] for each in (identifier, name)):
            for form in (words, words[:-1] if words[-1:] == ["license"] else words, [*words, "license"]):
                # one word that isn't written in capitals may be any: "under the Fair Use License"
                if form and len(form) <= _MAX_NAME_WORDS and (len(form) > 1 or identifier.isupper()):
                    found.setdefault(tuple(form), identifier)
    return found


def _plain(words: list[str]) -> tuple[list[str], list[int]]:
    """Return the words of a name as it is looked up, without "version", and their places."""
    plain: list[str] = []
    places: list[int] = []
    for place, word in enumerate(words):
        if word not in ("version", "v"):
            plain.append(re.sub(r"^v(?=\d)", "", word))
            places.append(place)
    return plain, places


def _all_names(text: str) -> str | None:
    """Return the licence of a text that is names of the same and words that say nothing: "MPL 2.0 (https://…)"."""
    words = words_of(text).words
    found: list[str] = []
    at = 0
    while at < len(words):
        if (named := name_at(words, at)) is not None:
            found.append(named[0])
            at = named[1]
        elif filler := finder("fillers", start="", end=r"(?!\S)").match(" ".join(words[at : at + 12])):
            at += len(filler.group().split())
        else:
            return None
    return found[0] if len({base_of(each) for each in found}) == 1 else None


def _joined_by_hand(text: str) -> str | None:
    """Return what "MIT/Apache-2.0" and Debian's "GPL-2+ or Artistic" stand for, each part understood by itself."""
    parts = _CONNECTOR.split(text)
    names, signs = parts[::3], ["OR" if slash else word.upper() for word, slash in zip(parts[1::3], parts[2::3])]
    found = [canonical(name) or _all_names(name) for name in names] if 1 < len(names) < 6 else [None]
    if None in found or any(name.count("(") != name.count(")") for name in names):
        return None
    return canonical(f"({found[0]})" + "".join(f" {sign} ({each})" for sign, each in zip(signs, found[1:])))


def base_of(identifier: str) -> str:
    return identifier.removesuffix("-only").removesuffix("-or-later")


def _joined(sign: str, expressions: Iterable[str]) -> str:
    joined = sign.join(f"({each})" for each in expressions)
    return joined and (canonical(joined) or UNKNOWN)
