"""Which licences a text states: by the texts that stand in it, and by the names of licences.

What a text says beyond them may take back what they give, in whatever language. So what matched texts, names of licences
and of who holds the rights, and a few words that say nothing don't cover must be nearly nothing: else it is "unknown".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from headwater.core.errors import ConfigError
from headwater.corpus.licences.names import FILLERS, all_of, any_of, base_of, names_in, words_at
from headwater.corpus.sources.spdx import UNKNOWN, is_expression

MAX_CHARACTERS = 1_000_000  # of a text that is looked at; more may say more
_HEAD_CHARACTERS = 6000
_MAX_OTHERS = 1  # words beside a licence's own text that nothing covers, as names are written: "Ist untersagt" are two
_MAX_NAMES = 24  # words within a licence's own text that are no licence's: of who holds the rights
_MAX_HOLDER_WORDS = 14
_LONG_SENTENCE = 4  # words: a title has hardly one that tells its language
_LONG = (
    5000  # characters of a text of many sections, such as the GPL's: notices and short licences have names amid them
)
_SIGN = re.compile(r"\(c\)|©|\bcopyright\b|\bcopr\b", re.IGNORECASE)
_ADDRESS = re.compile(r"\b[\w.+-]+@[\w.-]+\w|<[^<>\n]{1,60} at [^<>\n]{1,60}>|https?://[^\s>)\"]+")
_HOLDER = re.compile(
    r"(?:^|(?<=[|(])|(?<= - ))[^\w\n©]*(?:portions(?: are)? )?(?:(?:copyright|copr|©|\(c\)|authors?\b|written by|maintainers?)\W*)+"
    r"(?P<names>[^\n|]*)",
    re.IGNORECASE | re.MULTILINE,
)
_POINTS = re.compile(r"@|licen[cs]e|copying", re.IGNORECASE)  # mail, and addresses of licence files
_REFUSES = re.compile(  # in one word, in many languages
    r"(?:un|non|nicht|no)?(?:propri|confid|vertraul|[ck]om+er|priv|intern|reserv|restri|limit|licen|publi|trial|demo|eval"
    r"|a[ck]adem|forbid|prohib|verbot|interdi|not$|kein)",
    re.IGNORECASE,
)
_DOMAIN = re.compile(r"\b[\w-]+(?:\.[\w-]+)*\.(?:[a-z]{2,4})\b(?:/[^\s)]*)?")
_SENTENCE_ENDS = re.compile(
    r"(?<=[^\W\d_]{4})[.;:!?]\s|(?<!inc)(?<!ltd)(?<!corp)(?<!co)(?<=[^\W\d_]{2})[;:!?]\s| - ", re.I
)
_HOLDER_WORDS = frozenset(
    """and by of the de der den van von et al other others respective individual all rights reserved copyright c author authors
    contributor contributors present developer developers project team group or its affiliates inc ltd llc corp co gmbh
    university as see file mailto""".split()
)
_MANY = frozenset("authors contributors developers team inc llc ltd gmbh".split())
_RESERVED = re.compile(r"\ball\s+rights\s+reserved\b|\bno\s+rights\s+reserved\b", re.IGNORECASE)
_OTHERS = {"MIT-NoAd": "X11"}  # what the list calls otherwise
_SPEAKS = re.compile(
    r"licen[cs]|gpl|permi|distribut|public|copyright|proprietary|commercial|confidential|unauthori[sz]ed|reserved", re.I
)
# in the head of code: what grants or refuses something else; what a description doesn't say, by itself or in one sentence
_GRANTS = re.compile(
    r"\bpermission (?:is|to)\b|non-?commercial|\bproprietary\b|\bconfidential\b|\bunauthori[sz]ed (?:use|copy)|may not be "
    r"(?:used|copied|sold|shared|distributed)|\blicen[cs]ed (?:under|to)\b|(?:internal|evaluation|academic|research|personal|private) "
    r"(?:use|purposes?)\b|(?:prohibited|forbidden|not permitted)\b|(?:use|copying|redistribution) (?:is|are) \w+",
    re.I,
)
_LIMITS = re.compile(
    r"licen[cs]|permi(?:ss|tt)|\brights?\b|commerc|restrict|prohibit|forbid|propriet|reserved|patent|consent|approv|subscri"
    r"|\b(?:may|shall)\s+not\b|purchas|\bsell|\bsold\b|\bsale|\bfees?\b|\bpaid\b|distribut|compan(?:y|ies)\b|academic|military|evaluation (?:only|use|purpose|copy|version)|agree|\bclauses?\b"
    r"|\blegal|\bterms\b|\b(?:no|not|only|never|without|must|may|shall|should|please|needs?|requires?)\b"
    r"(?=.*\b(?:us(?:e|ed|age|ing)|cop(?:y|ied|ies)|publish\w*|shared?|deploy\w*|production|host\w*|offer|service|plan)\b)"
    r"|\b(?:us(?:e|ed|age|ing)|cop(?:y|ied|ies)|publish\w*|shared?|deploy\w*|production|hosting)\b"
    r"(?=.*\b(?:no|not|only|never|without|must|may|shall|should|please|needs?|requires?)\b)",
    re.I | re.S,
)
_ENGLISH = frozenset("a an the of to and in is are it for with from this that by on as at be or which its".split())
_SENTENCE = re.compile(r"(?<=[.;!?])\s|\n\s*\n|\n(?=\W*@)|\s[|]\s")
_PATH = re.compile(r"\S*\w[./_\\:-]+\w\S*")  # of a file, an address or a name of code
_NAME = "\0"  # in the place of a licence's name
_OPENS = re.compile(r"(/\*|<!--|[rRuU]?(?:\"{3}|'{3})|--\[\[|#\[\[|#\||#=(?=\s|$)|<#|\{-|\(\*|=(?:begin|pod|head1)\b)")
_CLOSES = {
    **{
        "/*": "*/",
        "<!--": "-->",
        "--[[": "]]",
        "#[[": "]]",
        "<#": "#>",
        "{-": "-}",
        "(*": "*)",
        "#|": "|#",
        "#=": "=#",
    },
    **{"=begin": "=end", "=pod": "=cut", "=head1": "=cut"},
}
_NESTING = ("{-", "(*", "#|", "#=")  # whose ends aren't counted: the rest is a comment where one holds another
_LINE = re.compile(
    r"//|#(?!(?:include|define|if|ifn?def|else|endif|error|pragma|undef)\b)|\*|;|--|%|<\?php|\.\.(?:\s|$)|rem\b", re.I
)
_APPLIED = re.compile(
    r"\W*(?:end of terms and conditions\W*)?(?:appendix\W*)?how to (?:apply|use).{0,3500}", re.I | re.S
)
_NON_COMMERCIAL = re.compile(r"(?<!commercial or )(?<!commercial and )\bnon-?\s?commercial", re.IGNORECASE)
_CHOICE = frozenset("either dual choice option choose".split())
_MUST_SAY = {"MIT": "restriction sublicense sell", "BSD-2-Clause": "without", "BSD-3-Clause": "without"}


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
    found = _read(text)
    says_more = found.is_doubtful or _others(found.rest) > found.max_others
    return UNKNOWN if says_more else found.licences or UNKNOWN


def licence_of_head(text: str) -> str | None:
    """Return the licence that the comment at the head of a source file states, None where none is spoken of.

    Paragraphs that describe code in plain English may stand beside it. What speaks of rights and isn't understood is
    "unknown", further down as well.
    """
    head = text[:_HEAD_CHARACTERS]
    if not _SPEAKS.search(head):
        return None
    comment, code = _comment_of(head)
    found = _read(comment)
    later = "\n".join(line for line in code.splitlines() if _LINE.match(line.removeprefix(" ")))
    if not found.licences:
        return UNKNOWN if _GRANTS.search(found.rest) or _GRANTS.search(later) else None
    sentences = _SENTENCE.split(found.rest)
    says_more = any(_others(each) and (_NAME in each or not _is_description(each)) for each in sentences)
    return UNKNOWN if says_more or found.is_doubtful or _GRANTS.search(later) else found.licences


def _comment_of(head: str) -> tuple[str, str]:
    """Return the comments before the first line of code without their signs, and what is behind them."""
    lines, kept, opened, closing = head.splitlines(), list[str](), "", ""
    for at, line in enumerate(lines):
        text = line.strip()
        opening = None if closing else _OPENS.match(text)
        if not (closing or opening or not text or _LINE.match(text)):
            return "\n".join(kept), "\n".join(lines[at:])
        if opening:
            opened, text = opening[1], text[opening.end() :]
            closing = _CLOSES.get(opened, opened[-3:])
        if opened in _NESTING and opened in text:
            closing = "\0"
        if closing and closing in text:
            text, closing = text.replace(closing, ""), ""
        kept.append(re.sub(r"^[^\w(©<@]+", "", text))
    return "\n".join(kept), ""


def _is_description(sentence: str) -> bool:
    """Return whether a sentence is English that speaks of no right: other languages are not told apart from limits."""
    words = [each for each in words_at(_PATH.sub(" ", sentence))[0] if len(each) > 1 and each.isalpha()]
    is_english = len(words) < _LONG_SENTENCE or sum(word in _ENGLISH for word in words) * 8 >= len(words)
    return is_english and sentence.isascii() and not _LIMITS.search(sentence)


@dataclass(frozen=True, slots=True)
class _Reading:
    """What a text states: the expression, "" of nothing; what else it says, and how many words of it may be."""

    licences: str
    rest: str
    is_doubtful: bool
    max_others: int


def _read(text: str) -> _Reading:
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
    between = [set(words_at(rest[end:start])[0]) for (_, _, end), (_, start, _) in zip(named, named[1:])]
    for name, start, end in named:
        rest = rest[:start] + _NAME.ljust(end - start) + rest[end:]
        is_same = any(_family(name) == _family(each) for each in found[:texts])
        found += [] if is_same or (_is_gnu(name) and start > gnu_end) else [name]
    later = {name.replace("-or-later", "-only") for name in found if name.endswith("-or-later")}
    found = [name for name in dict.fromkeys(found) if name not in later]
    is_choice = bool(_CHOICE & set(words_at(rest)[0])) or any("or" in each <= {"or", "the", "a"} for each in between)
    budget = _MAX_OTHERS if texts and not is_choice else 0
    return _Reading(any_of(found) if is_choice else all_of(found), rest, is_doubtful, budget)


def _without_holders(text: str) -> str:
    """Return a text with blanks in place of who holds the rights, and of sentences that say nothing more."""
    text = _furniture().sub(_blank, _RESERVED.sub(_blank, text))

    def without(line: re.Match[str]) -> str:
        said = _SENTENCE_ENDS.split(_DOMAIN.sub(_blank, _ADDRESS.sub(_blank, line["names"])), maxsplit=1)[0]
        said = said[: next((start for _, start, _ in names_in(said)), None)]
        words = [each for each in re.findall(r"[^\W_][\w'’-]*", said) if not each[0].isdigit() and len(each) > 1]
        others = [each for each in words if each.lower() not in _HOLDER_WORDS]
        num_plain = sum(not each[0].isupper() or _is_caseless(each) * 2 for each in others)
        is_name = num_plain <= any(each.lower() in _MANY for each in words)  # "the anemone contributors"
        in_capitals = sum(each.isupper() and len(each) > 3 for each in others)
        is_holder = is_name and len(others) <= _MAX_HOLDER_WORDS and in_capitals <= 2
        end = line.start("names") - line.start() + len(said)
        return " " * end + line.group()[end:] if is_holder else line.group()

    return _HOLDER.sub(without, text)


def _others(text: str) -> int:
    """Return how many words a text has but for fillers; those that are no names, or of a script without capitals, twice."""
    text = _ADDRESS.sub(lambda each: "" if _POINTS.search(each.group()) else " Address ", text)
    words = [
        each for each in re.findall(r"[^\W_]+", text) if not (each.isdigit() or (len(each) == 1 and each.isascii()))
    ]
    others = [each for each in words if not {*words_at(each)[0]} <= FILLERS | {"or"}]
    return sum(1 if _is_name(each) else 2 for each in others)


def _is_name(word: str) -> bool:
    is_written_so = word[0].isupper() or any(map(str.isdigit, word))
    return is_written_so and not _is_caseless(word) and not _REFUSES.match(word)


def _says_other(identifier: str, text: str) -> bool:
    """Return whether a licence's text lacks a right that its pattern lets go, or has more than names in it."""
    words, starts = words_at(_ADDRESS.sub(_blank, text))
    if not set(_MUST_SAY.get(identifier, "").split()) <= {*words, *map("".join, zip(words, words[1:]))}:
        return True
    strange = {(word, text[at]) for word, at in zip(words, starts) if word not in _own_words() and not word.isdigit()}
    if _NON_COMMERCIAL.search(text):
        return True
    for sentence in _SENTENCE.split(text):
        said = [word for word in words_at(_ADDRESS.sub(_blank, sentence))[0] if word not in FILLERS and word.isalpha()]
        if len(said) > 1 and sum(word not in _own_words() for word in said) * 2 > len(said):
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
            "licence texts are read by the package licenseclassifier, which isn't installed: `pip install headwater[corpus]` "
            "installs it"
        ) from None
    return identify_license


@cache
def _own_words() -> frozenset[str]:
    """Return the words that permissive licences have, but for those that could limit them in a name's place."""
    return frozenset((files("headwater.corpus.licences") / "own_words.txt").read_text(encoding="utf-8").split())


@cache
def _furniture() -> re.Pattern[str]:
    """Return what finds the sentences that stand beside notices and say nothing, however they are wrapped."""
    lines = (files("headwater.corpus.licences") / "furniture.txt").read_text(encoding="utf-8").splitlines()
    return re.compile(
        r"\b(?:" + "|".join(re.sub(r"(?<!\\) ", r"[\\s*#/]+", each) for each in lines) + ")", re.IGNORECASE
    )
