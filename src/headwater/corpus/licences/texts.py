"""Which licences a text states: by the texts that stand in it, and by the names of licences.

What a text says beyond them may take back what they give, in whatever language. So what matched texts, names of
licences and of who holds the rights, and a few words that say nothing don't cover must be nearly nothing: else it is
"unknown".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from itertools import pairwise
from typing import Any

from headwater.core.errors import ConfigError
from headwater.corpus.licences.names import all_of, any_of, base_of, names_in, word_lists, words_at
from headwater.corpus.sources.spdx import UNKNOWN, is_expression

MAX_CHARACTERS = 1_000_000  # of a text that is looked at; more may say more
NAME = "\0"  # in the place of a licence's name
_MAX_OTHERS = 1  # words beside a licence's own text that nothing covers, as names are written: "Ist untersagt" are two
_MAX_NAMES = 24  # words within a licence's own text that are no licence's: of who holds the rights
_MAX_HOLDER_WORDS = 14
_LONG = 5000  # characters of a text of many sections, such as the GPL's: shorter ones have names amid them
_SIGN = re.compile(r"\(c\)|©|\bcopyright\b|\bcopr\b", re.IGNORECASE)
_ADDRESS = re.compile(r"\b[\w.+-]+@[\w.-]+\w|<[^<>\n]{1,60} at [^<>\n]{1,60}>|https?://[^\s>)\"]+")
_POINTS = re.compile(r"@|licen[cs]e|copying", re.IGNORECASE)  # mail, and addresses of licence files
_DOMAIN = re.compile(r"\b[\w-]+(?:\.[\w-]+)*\.(?:[a-z]{2,4})\b(?:/[^\s)]*)?")
_HOLDER = re.compile(
    r"(?:^|(?<=[|(])|(?<= - ))[^\w\n©]*(?:portions(?: are)? )?"
    r"(?:(?:copyright|copr|©|\(c\)|authors?\b|written by|maintainers?)\W*)+(?P<names>[^\n|]*)",
    re.IGNORECASE | re.MULTILINE,
)
_YEAR = re.compile(r"\b(?:19|20)\d\d\b")
_HOLDER_ENDS = re.compile(r"(?<=[^\W\d_]{4})\.\s|(?<=[^\W\d_]{2})[;:!?]\s| - ")  # "A. Writer", "Acme Inc. and others"
_RESERVED = re.compile(r"\b(?:all|no)\s+rights\s+reserved\b", re.IGNORECASE)
SENTENCE = re.compile(r"(?<=[.;!?])\s|\n\s*\n|\n(?=\W*@)|\s[|]\s")
_APPLIED = re.compile(
    r"\W*(?:end of terms and conditions\W*)?(?:appendix\W*)?how to (?:apply|use).{0,3500}", re.IGNORECASE | re.DOTALL
)
_NON_COMMERCIAL = re.compile(r"(?<!commercial or )(?<!commercial and )\bnon-?\s?commercial", re.IGNORECASE)
_CHOICE = {"either", "dual", "choice", "option", "choose"}
_MUST_SAY = {"MIT": "restriction sublicense sell", "BSD-2-Clause": "without", "BSD-3-Clause": "without"}
_OTHERS = {"MIT-NoAd": "X11"}  # what the list calls otherwise


def patterns_version() -> str:
    """Return the version of the patterns, on which the licence of a document depends."""
    _identify()
    return f"licenseclassifier {version('licenseclassifier')}"


def licence_of_text(text: str) -> str:
    """Return the expression of the licences that a text states, "unknown" where it says more, or states none.

    Several are joined by AND, or by OR where the text speaks of a choice. A GNU licence's own text doesn't say
    whether later versions may be used; it is taken for that version only. A text longer than MAX_CHARACTERS is unknown.
    """
    if len(text) > MAX_CHARACTERS:
        return UNKNOWN
    found = read_text(text)
    says_more = found.is_doubtful or num_others(found.rest) > found.max_others
    return UNKNOWN if says_more else found.licences or UNKNOWN


@dataclass(frozen=True, slots=True)
class Reading:
    """What a text states: the expression, "" of nothing; what else it says, and how many words of it may be."""

    licences: str
    rest: str
    is_doubtful: bool
    max_others: int


def read_text(text: str) -> Reading:
    rest = _without_holders(text)
    found, is_doubtful, gnu_end = list[str](), False, len(text)
    for identifier, start, end in _licence_texts(text):
        if _is_gnu(identifier):
            if start > gnu_end:  # how the licence is applied
                identifier = ""
            elif end - start > _LONG:
                identifier, gnu_end = identifier.replace("-or-later", "-only"), end
                end += len(applied.group()) if (applied := _APPLIED.match(rest, end)) else 0
        found += [identifier] if identifier else []
        is_doubtful |= end - start < _LONG and not _is_gnu(identifier) and _says_other(identifier, rest[start:end])
        rest = rest[:start] + "\n" * (end - start) + rest[end:]
    texts = len(found)
    named = names_in(rest)
    between = [set(words_at(rest[end:start])[0]) for (_, _, end), (_, start, _) in pairwise(named)]
    for name, start, end in named:
        rest = rest[:start] + NAME.ljust(end - start) + rest[end:]
        is_same = any(_family(name) == _family(each) for each in found[:texts])
        found += [] if is_same or (_is_gnu(name) and start > gnu_end) else [name]
    later = {name.replace("-or-later", "-only") for name in found if name.endswith("-or-later")}
    found = [name for name in dict.fromkeys(found) if name not in later]
    is_choice = bool(_CHOICE & set(words_at(rest)[0])) or any("or" in each <= {"or", "the", "a"} for each in between)
    budget = _MAX_OTHERS if texts and not is_choice else 0
    return Reading(any_of(found) if is_choice else all_of(found), rest, is_doubtful, budget)


def _without_holders(text: str) -> str:
    """Return a text with blanks in place of who holds the rights, and of sentences that say nothing more."""
    text = word_lists()["furniture"].sub(_blank, _RESERVED.sub(_blank, text))

    def without(line: re.Match[str]) -> str:
        said = _HOLDER_ENDS.split(_DOMAIN.sub(_blank, _ADDRESS.sub(_blank, line["names"])), maxsplit=1)[0]
        said = said[: next((start for _, start, _ in names_in(said)), None)]
        words = [each for each in re.findall(r"[^\W_][\w'’-]*", said) if not each[0].isdigit() and len(each) > 1]
        others = [each for each in words if each.lower() not in word_lists()["holder"]]
        num_plain = sum(not each[0].isupper() for each in others)
        is_alone = len(others) == 1 and others[0].isascii() and _YEAR.search(said) and not _limits(others[0])
        most_plain = is_alone or any(each.lower() in word_lists()["many"] for each in words)
        is_name = num_plain <= bool(most_plain)  # "2014 mozillazg", "the anemone contributors"
        in_capitals = sum(each.isupper() and len(each) > 3 for each in others)
        is_holder = is_name and len(others) <= _MAX_HOLDER_WORDS and in_capitals <= 2
        end = line.start("names") - line.start() + len(said)
        return " " * end + line.group()[end:] if is_holder else line.group()

    return _HOLDER.sub(without, text)


def _limits(word: str) -> bool:
    return any(word_lists()[name].search(word) for name in ("refuses", "limits"))


def num_others(text: str) -> int:
    """Return how many words a text has but for fillers; those that aren't written as names count twice."""
    text = _ADDRESS.sub(lambda each: "" if _POINTS.search(each.group()) else " Address ", text)
    words = [
        each for each in re.findall(r"[^\W_]+", text) if not (each.isdigit() or (len(each) == 1 and each.isascii()))
    ]
    others = [each for each in words if not {*words_at(each)[0]} <= word_lists()["fillers"] | {"or"}]
    return sum(1 if _is_name(each) else 2 for each in others)


def _is_name(word: str) -> bool:
    is_written_so = word[0].isupper() or any(map(str.isdigit, word))
    return is_written_so and not _is_caseless(word) and not word_lists()["refuses"].match(word)


def _says_other(identifier: str, text: str) -> bool:
    """Return whether a licence's text lacks a right that its pattern lets go, or has more than names in it."""
    words, starts = words_at(_ADDRESS.sub(_blank, text))
    if not set(_MUST_SAY.get(identifier, "").split()) <= {*words, *map("".join, pairwise(words))}:
        return True
    strange = {
        (word, text[at]) for word, at in zip(words, starts) if word not in word_lists()["own"] and not word.isdigit()
    }
    if _NON_COMMERCIAL.search(text):
        return True
    for sentence in SENTENCE.split(text):
        said = [
            word
            for word in words_at(_ADDRESS.sub(_blank, sentence))[0]
            if word not in word_lists()["fillers"] and word.isalpha()
        ]
        if len(said) > 1 and sum(word not in word_lists()["own"] for word in said) * 2 > len(said):
            return True  # a sentence by itself
    plain = {word for word, first in strange if not first.isupper() and not first.isdigit() and len(word) > 1}
    return bool(plain) or len(strange) > _MAX_NAMES or any(_is_caseless(word) for word, _ in strange)


def _is_caseless(word: str) -> bool:
    """Return whether a word is of a script without capitals, in which names look like all other words."""
    return any(letter.isalpha() and letter.lower() == letter.upper() for letter in word)


def _is_gnu(identifier: str) -> bool:
    return "GPL" in identifier or "GFDL" in identifier


def _family(identifier: str) -> str:
    return base_of(identifier).split("-")[0]


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match.group())


@lru_cache(maxsize=64)  # most files of a corpus are under a few texts
def _licence_texts(text: str) -> tuple[tuple[str, int, int], ...]:
    """Return the licence texts that stand in a text, by their characters, in order."""
    identify = _identify()
    found = [(each.id, each.start, each.end) for each in identify(text, 0)]
    if found and _SIGN.search(text):
        # from a sign of copyright the package counts all words up to the next licence as part of it
        masked = _SIGN.sub(lambda sign: "c".ljust(len(sign.group())), text)
        begins = {(each.id, each.end): each.start for each in identify(masked, 0)}
        found = [(name, begins.get((name, end), start), end) for name, start, end in found]
    listed = [
        (_OTHERS.get(name, name), start, end)
        for name, start, end in found
        if not _ADDRESS.fullmatch(text[start:end].strip())
    ]
    return tuple((name if is_expression(name) else f"LicenseRef-{name}", start, end) for name, start, end in listed)


def _identify() -> Callable[..., list[Any]]:
    try:
        from licenseclassifier import identify_license  # here: 36 ms that only corpora with licences need
    except ImportError:
        raise ConfigError(
            "licence texts are read by the package licenseclassifier, which isn't installed: `pip install "
            "headwater[corpus]` installs it"
        ) from None
    return identify_license
