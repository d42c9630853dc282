"""Which licences a text states: by the texts that stand in it, and by notices that name a licence.

What a text says beyond them may take back what they give ("for non-commercial use only"): then it is "unknown". Beside
them a licence file may name who holds the rights, and use words that are known to say nothing; whatever else there is,
in whatever language, leaves it unknown. In the comment at the head of code, which may speak of anything, no words may
limit what is granted.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from functools import cache
from itertools import groupby, pairwise

from headwater.corpus.licences.detection import is_of_licence, licence_texts
from headwater.corpus.licences.names import all_of, any_of, gnu_identifier, name_at
from headwater.corpus.licences.words import alternatives, finder, is_caseless, pattern_of, phrases, words_of
from headwater.corpus.sources.spdx import PUBLIC_DOMAIN, UNKNOWN

MAX_CHARACTERS = 1_000_000  # of a text that is looked at; more may say more
_HEAD_CHARACTERS = 6000
_HOLDERS = ("contributors", "developers", "authors", "team")
_MAX_CAPITALS = 2  # words of capitals there: in more of them more may be said
_MAX_HOLDER_WORDS = 12  # of who holds the rights
_MAX_CHOICES = 20  # names after one another to choose from
_GNU_TEXT_WORDS = 1000  # at least; a notice has 200
_SPEAKS = re.compile(
    r"licen[cs]|gpl|permi|distribut|public|copyright|copying|proprietary|commercial|confidential|unauthori[sz]ed",
    re.IGNORECASE,
)
_DIRECTIVE = r"#(?:include|define|ifn?def|pragma|undef)\b"  # of C
_BEFORE_COMMENT = re.compile(rf"\s*(?:(?:#!|{_DIRECTIVE})[^\n]*\n\s*|<\?php\b\s*)*")
# comments of several lines: C, HTML; docstrings; Lua, CMake, Lisp, Julia; PowerShell, Haskell, ML, Ruby, Perl
_BLOCKS = {
    **{"/*": "*/", "<!--": "-->", '"""': '"""', "'''": "'''", "--[[": "]]", "#[[": "]]", "#|": "|#", "#=": "=#"},
    **{"<#": "#>", "{-": "-}", "(*": "*)", "=begin": "=end", "=pod": "=cut", "=head1": "=cut"},
}
_NESTING = {"-}": "{-", "*)": "(*", "|#": "#|", "=#": "#="}
_NEVER = "\0"  # closes a comment that holds others: which of its ends is the last isn't counted
# code and comments hold some of the others, but hardly begin a line with them
_OPENS = re.compile(r"(?<!/)/\*|<!--|\"{3}|'{3}|--\[\[|^\s*(?:#\[\[|#\||#=(?=\s)|<#|\{-|\(\*|=(?:begin|pod|head1)\b)")
_COMMENT = re.compile(
    rf"\s*(?://|/\*|(?!{_DIRECTIVE})#|\*|;|--|<!--|[rRuU]?(?:\"{{3}}|'{{3}})|<#|\{{-|\(\*|=(?:begin|pod|head1)\b)"
)
_DOCUMENTS = re.compile(r"\s*(?:///|//!|/\*\*|[rRuU]?(?:\"{3}|'{3}))")
_ASSIGNS = re.compile(r"(?<![^\W_])licen[sc]e_*[\"']? ?(?:::|[:=] ?[\"'])", re.IGNORECASE)  # __license__ = "MIT"
_DISCLAIMS = re.compile(r"\b(?:as is|in no event|without (?:any )?warrant)")
_FIRST = {"free documentation": ("1", "1"), "general public": ("1", "0")}  # versions; of the others 2.0
_BINDING = ("under", "compliance with", "terms of", "subject to", "governed by", "covered by")


def licence_of_head(text: str) -> str | None:
    """Return the licence that the head of a source file states: as `licence_of_text`, None where it states none."""
    head = text[:_HEAD_CHARACTERS]
    if not _SPEAKS.search(head):
        return None
    first, later, rest = _comments(head)
    stated = _Stated(first)
    if stated.found and finder("reserves").search(" ".join(words_of(later + rest).words)):
        return UNKNOWN
    if not stated.found:
        stated = _Stated(later)
    if not stated.found:
        return UNKNOWN if finder("reserves").search(" ".join(words_of(head).words)) else None
    return stated.expression(is_head=True)


def _comments(head: str) -> tuple[str, str, str]:
    """Return the comments before the first line of code, but for documentation without a notice; those behind it; and
    all the rest.

    The head counts as the first where it begins with no known comment.
    """
    before = _BEFORE_COMMENT.match(head)
    at, closing = before.end() if before else 0, ""
    if not _COMMENT.match(head, at):
        return head, "", ""
    parts, num_first, documents, is_ended = [""], 0, False, False
    code = ""
    for line in head[at:].splitlines(keepends=True):
        if not (closing or not line.strip() or _COMMENT.match(line) or (_SPEAKS.search(line) and not num_first)):
            num_first = num_first or len(parts)
            is_ended = True
            if not _ASSIGNS.search(line):
                code += line
                continue
        if is_ended or (not closing and documents != (_DOCUMENTS.match(line) is not None)):
            documents = _DOCUMENTS.match(line) is not None
            parts.append("")
        parts[-1] += line
        was_open, closing = closing, _closing_after(line, closing)
        is_ended = was_open != "" and not closing
    num_first = num_first or len(parts)
    first = [_notices_of(part) if _DOCUMENTS.match(part) else part for part in parts[:num_first]]
    later = [part for part in parts[num_first:] if _SPEAKS.search(part)]
    return "\n\n".join(first), "\n\n".join(later), code


def _notices_of(documentation: str) -> str:
    """Return the sentences of documentation that may be a notice, all of them where it states a licence."""
    if _SPEAKS.search(documentation) and _Stated(documentation).found:
        return documentation
    text = words_of(documentation)
    finds = finder("notices", "restricts", "grants", "allows", "reserves")
    places = [list(each) for _, each in groupby(range(len(text.words)), lambda at: text.sentences[at])]
    ends = [text.starts[each[0]] for each in places[1:]] + [len(documentation)]
    return "\n\n".join(
        documentation[text.starts[each[0]] : end]
        for each, end in zip(places, ends)
        if finds.search(" ".join(text.words[at] for at in each))
    )


def _closing_after(line: str, closing: str) -> str:
    """Return what closes the comment that is open at the end of a line, "" where none is; `closing` at its start."""
    at = 0
    while True:
        if not closing:
            opening = _OPENS.search(line, at)
            if opening is None:
                return ""
            closing, at = _BLOCKS[opening.group().strip()], opening.end()
        end = line.find(closing, at)
        if _NESTING.get(closing, _NEVER) in line[at : end if end >= 0 else None]:
            return _NEVER
        if end < 0:
            return closing
        closing, at = "", end + len(closing)


def licence_of_text(text: str) -> str | None:
    """Return the expression of the licences that a text states; "unknown" where they aren't understood, None of none.

    Several are joined by AND, or by OR where the text speaks of a choice. A GNU licence's own text doesn't say
    whether later versions may be used; it is taken for that version only. A text longer than MAX_CHARACTERS is unknown.
    """
    if len(text) > MAX_CHARACTERS:
        return UNKNOWN
    stated = _Stated(text)
    if not stated.found:
        return UNKNOWN if finder("grants", "allows").search(stated.rest()) else None
    return stated.expression()


@cache
def _restrictions() -> re.Pattern[str]:
    """Return what finds, beside a licence at the head of code, words that may take back what it gives, or grant
    something else. There much is not used, or used only so: that counts if the sentence is about the code.
    """
    limit, use = alternatives("limits"), alternatives("uses")
    near, used = (
        rf"\b{limit} (?:\w+ ){{0,8}}{each}\b|\b{each} (?:\w+ ){{0,8}}{limit}\b"
        for each in (alternatives("rights"), use)
    )
    about = rf"(?:.*\b{alternatives('about')}\b|(?:\w+ )?{limit}\b|{use}\b)"
    return re.compile(
        rf"\b{alternatives('restricts', 'grants', 'cautions_of_heads')}\b|{near}|^(?={about})(?:.*?)(?:{used})"
        r"|\bfor (?:\w+ ){1,6}only\b|\buse only\b|^(?:\S+ ){1,3}only$|\bmust ask$"
    )


def _is_gnu(identifier: str) -> bool:
    return "GPL" in identifier or "GFDL" in identifier


class _Stated:
    """What a text states: `found` are the licences, with the word at which each begins; `covered` the words that a
    licence's text or a notice accounts for, or that take nothing back.
    """

    def __init__(self, text: str) -> None:
        self._text, self.text = text, words_of(text)
        self.words = self.text.words
        self.found: list[tuple[int, str]] = []
        self.covered = [False] * len(self.words)
        self.is_doubtful = False
        self.conditions: list[range] = []  # words behind what grants rights, in a text that isn't known as a whole
        gnu_text_at = len(self.words)
        for each in licence_texts(text):
            start, end = (bisect_left(self.text.starts, at) for at in (each.start, each.end))
            identifier = each.identifier
            if _is_gnu(identifier) and end - start > _GNU_TEXT_WORDS:
                gnu_text_at = min(start, gnu_text_at)
                identifier = identifier.replace("-or-later", "-only")
            self.found.append((start, identifier))
            self.is_doubtful |= each.is_doubtful and not _is_gnu(identifier)
            self._cover_(start, end)
        self._cover_either_way_()
        self._take_notices_()
        # behind the text of a GNU licence stands how it is applied
        self.found = [(at, name) for at, name in self.found if at <= gnu_text_at or not _is_gnu(name)]
        self._cover_either_way_()

    def expression(self, is_head: bool = False) -> str:
        """Return the expression of what is found; "unknown" where other words may narrow it down."""
        found = [name for _, name in sorted(self.found)]
        rest = self.rest()
        names_gnu = pattern_of("gnu_named").search(rest) and not any(_is_gnu(each) for each in found)
        if self.is_doubtful or names_gnu or (self.takes_back_in_head() if is_head else self.says_more()):
            return UNKNOWN
        return any_of(found) if self._is_choice() else all_of(found)

    def rest(self) -> str:
        """Return the words that nothing accounts for."""
        return " ".join(word for word, is_covered in zip(self.words, self.covered) if not is_covered)

    def says_more(self) -> bool:
        """Return whether anything stands beside the licences, in whatever language, but who holds the rights."""
        if all(_is_gnu(name) for _, name in self.found):
            return False  # their addresses and advice change, and they give too little for that to matter
        return any(self._is_condition(each) or not self._is_holder(each) for each in self._rest_by_sentence())

    def _rest_by_sentence(self) -> Iterator[list[int]]:
        """Yield the places of the words of each sentence that nothing accounts for, but for addresses."""
        identifiers = {name for _, name in self.found}
        for _, places in groupby(range(len(self.words)), lambda at: self.text.sentences[at]):
            spoken = [at for at in places if not self.covered[at] and self.text.kinds[at] != "address"]
            words, kinds = [self.words[at] for at in spoken], [self.text.kinds[at] for at in spoken]
            if words and not is_of_licence(words, kinds, identifiers):
                yield spoken

    def _is_condition(self, sentence: list[int]) -> bool:
        return len(sentence) > 2 and any(sentence[0] in conditions for conditions in self.conditions)

    def _is_holder(self, sentence: list[int]) -> bool:
        """Return whether a sentence only names who holds the rights, or has no word but those that say nothing."""
        words = [self.words[at] for at in sentence]
        counted = [at for at in sentence if len(self.words[at]) > 1 and not self.words[at].isdigit()]
        other = [at for at in counted if self.words[at] not in phrases()["known"]]
        is_line = "\n" not in self._text[self.text.starts[sentence[0]] : self.text.starts[sentence[-1]]]
        if words[0] not in phrases()["names_holder"] or not is_line or any(map(is_caseless, words)):
            return not other and not any(map(is_caseless, words))
        plain = {self.words[at] for at in other if self.text.kinds[at] == "plain"} - phrases()["of_names"]
        # "Copyright (c) 2014 writer", "… the anemone contributors"
        is_name = all(map(str.isascii, plain)) and (
            len(other) == 1 or any(next_ in _HOLDERS for word, next_ in pairwise(words) if word in plain)
        )
        in_capitals = [at for at in counted[1:] if self._text.startswith(self.words[at].upper(), self.text.starts[at])]
        return len(plain) <= is_name and len(other) <= _MAX_HOLDER_WORDS and len(in_capitals) <= _MAX_CAPITALS

    def takes_back_in_head(self) -> bool:
        """Return whether a sentence in the head of code may take back what its licences give.

        Code is described in words that would narrow a licence down; of these only sentences that name one are read so.
        """
        naming = {self.text.sentences[at]: at for at in reversed(self.named_at)}
        return any(
            self._is_condition(each) or self._narrows(each, naming.get(self.text.sentences[each[0]]))
            for each in self._rest_by_sentence()
        )

    def _narrows(self, sentence: list[int], named_at: int | None) -> bool:
        if _restrictions().search(" ".join(self.words[at] for at in sentence)):
            return True
        if named_at is None:
            return False
        places = [at for at in sentence if self.text.kinds[at] in ("name", "plain")]  # a word in a path says little
        joined = " ".join(self.words[at] for at in places)
        if finder("narrows").search(joined):
            return True
        if finder("titles", start="^", end="$").search(joined):
            return False
        speaks = finder("speaks_of_licences").search(joined)
        begin = places[joined.count(" ", 0, speaks.start())] if speaks else named_at
        behind = {self.words[at] for at in places if at >= begin and self.text.kinds[at] == "plain"}
        return any(len(word) > 1 and not word.isdigit() for word in behind - phrases()["known"])

    def _is_choice(self) -> bool:
        """Return whether the text lets one choose, of what it names behind that."""
        joined = " ".join(self.words)
        if finder("choice").search(joined):
            return True
        sign = finder("choice_of_following").search(joined)
        return sign is not None and min(self.found)[0] >= joined.count(" ", 0, sign.start()) - 2

    def _cover_(self, start: int, end: int) -> None:
        self.covered[start:end] = [True] * (end - start)

    def _cover_either_way_(self) -> None:
        """Cover what takes nothing back: some of it names a licence, and some stands around one that is named."""
        joined, starts = self._rest_joined()
        finds = finder("either_way", "choice", "choice_of_following", start=r"(?<!\S)", end=r"(?!\S)")
        for match in finds.finditer(joined):
            self._cover_(bisect_left(starts, match.start()), bisect_left(starts, match.end()))

    def _rest_joined(self) -> tuple[str, list[int]]:
        """Return the words in one string, those that something accounts for omitted, and where each begins there."""
        words = ["\0" if done else word for word, done in zip(self.words, self.covered)]
        starts = [0]
        for word in words:
            starts.append(starts[-1] + len(word) + 1)
        return " ".join(words), starts

    def _take_notices_(self) -> None:
        """Find the notices in the words that no licence's text accounts for."""
        joined, starts = self._rest_joined()
        words = joined.split(" ")
        found: list[tuple[str, int, int]] = []
        reached = 0
        for match in pattern_of("under").finditer(joined):
            if (at := bisect_left(starts, match.end())) >= reached:
                named, reached = self._named_from_(words, at, match.group())
                found += named
        found += self._lines_that_name(words, {at for _, start, end in found for at in range(start, end)})
        is_named = {at for _, start, end in found for at in range(start, end)}
        notices = [match for each in phrases()["gnu_notices"] for match in re.finditer(each, joined)]
        matches = [(gnu_identifier(**match.groupdict()), match) for match in notices]
        matches += [(PUBLIC_DOMAIN, match) for match in pattern_of("in_public_domain").finditer(joined)]
        for name, granting in phrases()["granting"].items():
            granted = [match for each in granting for match in re.finditer(each, joined)]
            matches += [(name, match) for match in granted]
            ends = [_DISCLAIMS.search(joined, match.end()) for match in granted]
            self.conditions += [
                range(*(bisect_left(starts, at) for at in (match.end(), end.start() if end else len(joined))))
                for match, end in zip(granted, ends)
            ]
        for name, match in matches:
            start, end = (bisect_left(starts, at) for at in match.span())
            if start not in is_named:
                found.append((name, start, end))
        if not found and not self.found and (unversioned := pattern_of("gnu_unversioned").search(joined)):
            version, minor = _FIRST.get(unversioned["family"], ("2", "0"))
            found.append((gnu_identifier(unversioned["family"], version, minor, "later"), 0, 0))
        names = [name for name, _, _ in found]
        later_too = {name.replace("-or-later", "-only") for name in names if "-or-later" in name}
        self.found += [(start, name) for name, start, _ in found if name not in later_too]
        self.named_at = [start for name, start, end in found if end > start and not _is_gnu(name)]
        for _, start, end in found:
            self._cover_(start, end)

    def _lines_that_name(self, words: list[str], others: set[int]) -> list[tuple[str, int, int]]:
        """Return the licences of which a line by itself is the name ("MIT License"), where none is named otherwise."""
        sentences = self.text.sentences
        starts = [at for at in range(len(sentences)) if at == 0 or sentences[at - 1] != sentences[at]]
        named = [(at, end, name_at(words, at)) for at, end in pairwise([*starts, len(words)]) if at not in others]
        return [
            (each[0], at, end) for at, end, each in named if each and each[1] == end and words[end - 1] == "license"
        ]

    def _named_from_(self, words: list[str], at: int, sign: str) -> tuple[list[tuple[str, int, int]], int]:
        """Return what is named behind "under" and the like, with its words: one name, or several to choose from; and
        the word up to which names were looked for.
        """
        start, named = at, name_at(words, at)
        passed = phrases()["on_the_way"] - (set() if sign else {"license"})
        while named is None and at < min(start + 10, len(words)) and words[at] in passed:
            at += 1
            named = name_at(words, at)
        if named is None:
            is_other = sign in _BINDING and pattern_of("other_license").match(" ".join(words[at : at + 12])) is not None
            self.is_doubtful |= is_other
            return [], at
        choice: list[str] = []
        start = at
        while named is not None and len(choice) < _MAX_CHOICES:
            choice.append(named[0])
            end = named[1]
            following = pattern_of("or_next").match(" ".join(words[end : end + 8]) + " ")
            at = end + len(following.group().split()) if following else end
            named = name_at(words, at) if following else None
        self.is_doubtful |= named is not None
        # a text that begins with "W3C" isn't under its licence; of the public domain much is said
        is_named = (sign or end > start + 1) and PUBLIC_DOMAIN not in choice
        return [(" OR ".join(dict.fromkeys(choice)), start, end)] if is_named else [], end
