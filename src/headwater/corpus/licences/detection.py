"""Licence texts within a text, found word for word by the patterns of the package licenseclassifier."""

from __future__ import annotations

import gzip
import json
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from itertools import groupby, pairwise
from pathlib import Path

from headwater.corpus.licences.words import finder, is_caseless, phrases, words_of
from headwater.corpus.sources.spdx import allowed_patterns, is_allowed

_PACKAGE, _PATTERNS = "licenseclassifier", "_engine/licenses.json.gz"
_MARKUP = re.compile(r"//\*\*.*?\*\*//|__\d+__", re.DOTALL)
# From a sign of copyright the package counts all words up to the next licence as part of it, but not from a plain "c",
# which most of its patterns take for the sign, too.
_COPYRIGHT = re.compile(r"\(c\)|©|\bcopyright\b", re.IGNORECASE)
_NUMBER = re.compile(r"\d+|[ivx]+|\w")  # of a section or an item
_LIMITING = ("OFL-", "BSD-3-Clause-No-Nuclear-")  # the only permissive ones that limit what is sold, or used where
_RUN = 5  # words in a row that are of the same sentence
_MAX_NAMES = 2  # words of a name within a sentence of a licence
_MAX_OTHERS = 4  # words within a sentence of a licence's own text that no pattern of it has
_MAX_UNKNOWN = 1  # words that no pattern of a licence has, but for names: "ist untersagt" are two


@dataclass(frozen=True, slots=True)
class LicenceText:
    """The characters `start` to `end` of a text are this licence; `is_doubtful` where they may give less than it."""

    identifier: str
    start: int
    end: int
    is_doubtful: bool


def patterns_version() -> str:
    """Return the version of the patterns, on which the licence of a document depends."""
    return f"{_PACKAGE} {version(_PACKAGE)}"


def licence_texts(text: str) -> list[LicenceText]:
    """Return the licence texts that stand in a text, in order."""
    from licenseclassifier import identify_license  # here: 36 ms that only corpora with licences need

    others = phrases()["other_identifiers"]
    found = [
        (others.get(each.id, each.id), each.start, each.end) for each in identify_license(text, coverage_threshold=0)
    ]
    if any(_COPYRIGHT.search(text, start, min(start + 200, end)) for _, start, end in found):
        masked = _COPYRIGHT.sub(lambda sign: "c".ljust(len(sign.group())), text)
        begins = {
            (others.get(each.id, each.id), each.end): each.start
            for each in identify_license(masked, coverage_threshold=0)
        }
        found = [(identifier, begins.get((identifier, end), start), end) for identifier, start, end in found]
    return [
        LicenceText(identifier, start, end, _is_doubtful(identifier, text[start:end]))
        for identifier, start, end in found
        if not re.match(r"\s*http\S*\s*$", text[start:end])  # an address, which has its place in `names`
    ]


def _is_doubtful(identifier: str, text: str) -> bool:
    """Return whether a text lacks a right that its pattern lets go, or has more than names in place of any words."""
    found = words_of(text)
    spelt = {*found.words, *map("".join, pairwise(found.words))}  # "sub-license"
    if any(right not in spelt for right in phrases()["must_grant"].get(identifier, "").split()):
        return True
    own = _words_of_patterns()[identifier]
    is_other = [word not in own and not _NUMBER.fullmatch(word) for word in found.words]
    other = [word for word, is_it in zip(found.words, is_other) if is_it]
    plain = [at for at, is_it in enumerate(is_other) if is_it and found.kinds[at] == "plain"]
    unknown = {found.words[at] for at in plain} - phrases()["of_names"]
    for _, places in groupby(range(len(is_other)), lambda at: found.sentences[at]):
        sentence = list(places)
        is_holder = found.words[sentence[0]] in phrases()["names_holder"]
        # what ends where another sentence goes on is no name in it
        is_amid = is_other[sentence[-1]] and found.kinds[sentence[-1] + 1 :][:1] == ["plain"]
        if is_amid or (not is_holder and sum(is_other[at] for at in sentence) > _MAX_OTHERS):
            return True
    if any(is_caseless(word) for word in other) or not all(word.isascii() for word in unknown):
        return True  # of another language, in which a few words say much
    return len(unknown) > _MAX_UNKNOWN or finder("narrows", "restricts", "cautions").search(" ".join(other)) is not None


def is_of_licence(words: list[str], kinds: list[str], identifiers: Iterable[str]) -> bool:
    """Return whether a sentence is of one of these licences, or of a permissive one, but for names and a few words.

    Of a licence that isn't there only names may differ: what else a sentence ends in decides what it takes back.
    """
    listed = list(map(_runs, identifiers))
    return _is_of_runs(words, kinds, listed, _MAX_UNKNOWN) or _is_of_runs(
        words, kinds, [_permissive_runs(), *listed], 0
    )


def _is_of_runs(words: list[str], kinds: list[str], listed: list[frozenset[tuple[str, ...]]], max_unknown: int) -> bool:
    if len(words) < _RUN:
        return any(tuple(words) in runs for runs in listed)
    begins = [any(tuple(words[at : at + _RUN]) in runs for runs in listed) for at in range(len(words) - _RUN + 1)]
    own = [any(begins[max(at - _RUN + 1, 0) : at + 1]) for at in range(len(words))]
    other = [at for at, word in enumerate(words) if not own[at] and word not in phrases()["known"]]
    unlisted = {words[at] for at in other} - phrases()["of_names"]
    if len(unlisted) > _MAX_NAMES or not all(word.isascii() for word in unlisted):
        return False
    unknown = {words[at] for at in other if kinds[at] == "plain"} & unlisted
    if len(other) * _RUN > sum(own) or len(unknown) > max_unknown or (len(words) < 2 * _RUN and not all(own)):
        return False
    return finder("narrows", "restricts", "cautions").search(" ".join(words[at] for at in other)) is None


@cache
def _permissive_runs() -> frozenset[tuple[str, ...]]:
    permissive = allowed_patterns(["permissive"])
    names = [name for name in _words_of_patterns() if is_allowed(name, permissive)]
    return frozenset().union(*(_runs(name) for name in names if not name.startswith(_LIMITING)))


@cache
def _runs(identifier: str) -> frozenset[tuple[str, ...]]:
    listed = [words for name, words in _patterns() if name == identifier]
    lengths = range(3, _RUN + 1)  # the shorter ones are of headings
    return frozenset(tuple(words[at : at + n]) for n in lengths for words in listed for at in range(len(words) - n + 1))


@cache
def _words_of_patterns() -> dict[str, set[str]]:
    """Return the words of the patterns of each licence, but for those that any pattern may have in place of others."""
    own: dict[str, set[str]] = defaultdict(set)
    for identifier, words in _patterns():
        own[identifier] |= set(words)
    for each in own.values():
        each |= {"are", "is", "them", "they", "it", "these", "this", "those", "the", "copies", "copy", "https"}
    return own


@cache
def _patterns() -> list[tuple[str, list[str]]]:
    """Return the identifier and the words of each pattern of the package."""
    found = find_spec(_PACKAGE)
    assert found is not None and found.origin is not None
    listed = json.loads(gzip.decompress((Path(found.origin).parent / _PATTERNS).read_bytes()))
    others = phrases()["other_identifiers"]
    return [
        (others.get(each["id"], each["id"]), words_of(_MARKUP.sub(" ", each["lre"])).words)
        for each in listed
        if each["lre"]
    ]
