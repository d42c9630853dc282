"""Which licences a text states: by the standard texts of the SPDX list, and by notices that name a licence.

A text is compared by its runs of four words. A standard text stands where 85 % of its words and of those in its
place agree. What a text says beyond what it is found to say may take back what that gives ("for non-commercial use
only"): then it is "unknown". In doubt so it is, too, where words that grant something belong to no text that is known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from itertools import groupby

import numpy as np

from headwater.corpus.licences.matching import RUN, hashed_runs, runs_of, standard_texts, stretches
from headwater.corpus.licences.names import GNU_FAMILY, LATER, gnu_identifier, name_at
from headwater.corpus.licences.standards import alternatives, finder, phrases, words_of
from headwater.sources.spdx import PUBLIC_DOMAIN, UNKNOWN, canonical

MAX_CHARACTERS = 1_000_000  # of a text that is looked at; more may say more
_HEAD_CHARACTERS = 6000
_MAX_TEXTS, _MAX_CHOICES = 60, 20  # in one; names after one another to choose from
_TAG = re.compile(r"SPDX-License-Identifier:[ \t]{0,4}([A-Za-z0-9(][A-Za-z0-9 ().+-]{0,201})")
_MAX_TAG_CHARACTERS = 201
_GO_ON = ("AND", "OR", "WITH")  # with something that isn't understood
_SPEAKS = re.compile(
    r"licen[cs]|gpl|permi|distribut|public|copyright|copying|proprietary|commercial|confidential|unauthori[sz]ed",
    re.IGNORECASE,
)
_RESERVED = re.compile(r"\ball rights reserved\b", re.IGNORECASE)

_FREE_BEFORE = 1930
_COPYRIGHT = re.compile(r"©|\(c\)|\bcopyright\b", re.IGNORECASE)
# characters from a sign to "all rights reserved": in one line; to the end of the line above, and from there
_LONGEST_SIGN, _REACH_IN_LINE, _REACH_ABOVE, _REACH_BELOW = len("copyright"), 280, 200, 80
_BEGINS_LINE = re.compile(r"^\W{0,9}\Z", re.MULTILINE)
_RESTRICTIVE = re.compile(
    r"\b(?:for|permit(?:s|ted)|allow(?:s|ed)|only|licen[sc]ed?)\b[^.\n]{0,60}\bnon-?commercial(?:ly)?\b[^.\n]{0,40}"
    r"\b(?:use|purposes|only|licen[sc]e)\b"
    r"|\b(?:copying|reproduction|redistribution)\b[^.\n]{0,60}\b(?:prohibited|forbidden|not permitted)\b",
    re.IGNORECASE,
)

# beside a licence, of words that say something
_MAX_OTHER_WORDS, _MAX_HOLDER_WORDS = 2, 15  # names in a row; more in a clause with "copyright"
_COMMON_TEXTS = 8  # a word of as many standard texts is no name
_VERSION = r"(?:version|v) ?(?P<version>\d)(?!\d)(?: (?P<minor>\d)(?!\d))?(?: dated \w+ \d{4})?(?: of the license)?"
_PUBLISHED = r"(?: [al]?gpl| gfdl)?(?: (?:\w+ )?(?:as )?published by the free software foundation(?: inc)?)?"
_GNU_NOTICES = [
    re.compile(rf"gnu {GNU_FAMILY}{_PUBLISHED}(?: either| in| only)? {_VERSION}{LATER}"),
    re.compile(rf"{_VERSION}{LATER}(?: version)? of the gnu {GNU_FAMILY}"),
    # where Debian keeps the texts that many packages are under
    re.compile(r"common licenses (?P<family>lgpl|gpl|gfdl) (?P<version>\d)(?: (?P<minor>\d)(?!\d))?"),
]
_GNU_NAMED = re.compile(r"\b[al]?gpl\w*|(?:general|gnu) public license")
_GNU_UNVERSIONED = re.compile(rf"(?:terms of|under) the (?:gnu )?{GNU_FAMILY}")
# where the name of a licence may follow, perhaps behind some of the words below
_FIRST = {"free documentation": ("1", "1"), "general public": ("1", "0")}  # versions; of the others 2.0
_UNDER = re.compile(
    r"^(?=\S)|\b(?:under|terms of|subject to|governed by|covered by|uses|via|license|common|either|https?|www)(?= )"
    r"|\b(?:is|are)(?= (?:\w+ ){1,3}licensed\b)"
)
_ADDRESS = ("http", "https", "www")
_BINDING = ("under", "terms of", "subject to", "governed by", "covered by")
# "under the Elastic License": one that isn't understood, and no family whose version is missing
_OTHER = re.compile(
    r"(?!(?:\w+ )?(?:licensed|see|apache|[al]?gpl|general|gnu|mit|bsd|isc|public|academic|eclipse"
    r"|artistic|perl|this|that|these|same|following|above|which|such|its|their|respective|applicable|original|open|other"
    r"|any|each|more|modified|software|different|two|multiple|either|first|second|file|copy|s)\b)"
    r"[a-z]+(?: (?!see|the|of|to|in|for|or|and|this|is|that|file|under)[a-z]+){0,3}? license(?!\S)"
)
_NEXT = re.compile(r"(?:license |licenses )?(?:or|and or)(?: the| under the| at your option)* ")
_NEXT_OF_DUAL = re.compile(_NEXT.pattern.replace("or|and or", "or|and|and or"))
_BARE_GNU = re.compile(
    r"(?:gnu )?(?:(?P<l>l)gpl|gpl|(?P<lesser>lesser )?general public license)(?: gpl)?(?: license)?(?!\S)"
)
_SOURCE = "(?:file|code|source|software|program|work|module|library|script|package|data|text|document|header)"
_PLACED = "(?:in|(?:placed|put|released|dedicated|donated|given|contributed) (?:in(?:to)?|to|under))"
_IN_PUBLIC_DOMAIN = re.compile(
    rf"\b(?:this|these|all) (?:\w+ )?{_SOURCE}s?(?: files?| code| program)? (?:is|are|has been|have been|was)"
    rf"(?: hereby| all| now| explicitly)? {_PLACED} the public domain"
    r"|(?:^|\bhereby )(?:\w+ )?(?:placed?|released?|dedicated?)(?: \w+)? (?:in|into|to) the public domain"
    r"|\bpublic domain no license required|disclaims? copyright to this source code"
)


def licence_tag(text: str, num_lines: int) -> str | None:
    """Return the expression after SPDX-License-Identifier in the first lines of a file, None where there is no tag.

    Of several tags all apply; "unknown" where what one of them names isn't understood.
    """
    head = "\n".join(text[:_HEAD_CHARACTERS].split("\n")[:num_lines])
    found = list(dict.fromkeys(_tagged(match[1]) for match in _TAG.finditer(head)))
    if len(found) < 2:
        return found[0] if found else None
    return UNKNOWN if UNKNOWN in found else canonical(" AND ".join(f"({each})" for each in found)) or UNKNOWN


def _tagged(text: str) -> str:
    """Return the expression that a text begins with, the longest there is: a comment may follow it."""
    words = text.split() if len(text) <= _MAX_TAG_CHARACTERS else []
    for count in range(len(words), 0, -1):
        if (found := canonical(" ".join(words[:count]))) is not None:
            goes_on = words[count : count + 1]
            return UNKNOWN if goes_on and goes_on[0].upper() in _GO_ON else found
    return UNKNOWN


def licence_of_head(text: str) -> str | None:
    """Return the licence that the head of a source file states: as `licence_of_text`, None where it states none."""
    head = text[:_HEAD_CHARACTERS]
    if not _SPEAKS.search(head):
        return None
    stated = _Stated(head)
    if not stated.found:
        return UNKNOWN if finder("reserves").search(stated.rest()) else None
    return stated.expression(reach=60)


def reserves_all_rights(text: str) -> bool:
    """Return whether the head of a source file says so: beside a licence that is usual, without one it refuses all."""
    return _RESERVED.search(text, 0, _HEAD_CHARACTERS) is not None


def restricts_use(text: str) -> bool:
    """Return whether a notice at the head of prose reserves all rights, or allows non-commercial use alone.

    What was printed before 1930, when every book did so, is no notice of today.
    """
    head = text[:_HEAD_CHARACTERS]
    for notice in (*_notices_of_copyright(head), *(match.group() for match in _RESTRICTIVE.finditer(head))):
        years = [int(year) for year in re.findall(r"\b1[5-9]\d\d\b|\b20\d\d\b", notice)]
        if not years or max(years) >= _FREE_BEFORE:
            return True
    return False


def _notices_of_copyright(head: str) -> Iterator[str]:
    """Yield what reserves all rights: from a sign of copyright, in the line or the one above, to the last such words.

    It is found from its end: a search forwards from every sign takes seconds where there are thousands. Without a
    sign it counts where it begins a line.
    """
    start = end = 0  # of the notice that may go on
    for reserved in _RESERVED.finditer(head):
        at = reserved.start()
        sign = _copyright_before(head, at, start)
        if sign is not None and start < sign < end:
            sign = _copyright_before(head, at, end)
        if sign is None and not _BEGINS_LINE.search(head, max(at - 9, end), at):
            continue
        if end and sign != start:
            yield head[start:end]
        start, end = at if sign is None else sign, reserved.end()
    if end:
        yield head[start:end]


def _copyright_before(head: str, at: int, start: int) -> int | None:
    """Return where the first sign of copyright stands that "all rights reserved" at this place goes with."""
    line = head.rfind("\n", 0, at) + 1
    first_end = max(line, at - _REACH_IN_LINE)
    if line > 0 and at - line <= _REACH_BELOW:
        first_end = max(head.rfind("\n", 0, line - 1) + 1, line - 1 - _REACH_ABOVE)
    signs = _COPYRIGHT.finditer(head, max(first_end - _LONGEST_SIGN, start), at)
    return next((sign.start() for sign in signs if sign.end() >= first_end), None)


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
    """Return what finds, beside a licence, words that may take back what it gives, or grant something else."""
    limit, right = alternatives("limits"), alternatives("rights")
    return re.compile(
        rf"\b{alternatives('restricts', 'grants')}\b|\b{limit} (?:\w+ ){{0,8}}{right}\b"
        rf"|\b{right} (?:\w+ ){{0,8}}{limit}\b|^{limit}(?!\S)|\b(?:only|must ask)$",
        re.MULTILINE,
    )


def _bare_gnu(words: list[str], at: int) -> tuple[str, int] | None:
    """Return the GNU licence named without a version, one of several to choose from."""
    match = _BARE_GNU.match(" ".join(words[at : at + 6]))
    if match is None:
        return None
    is_lesser = match["l"] or match["lesser"]
    return "LGPL-2.0-or-later" if is_lesser else "GPL-1.0-or-later", at + len(match.group().split())


class _Stated:
    """What a text states: `found` are the licences, with the word at which each begins; `covered` the words that a
    standard text or notice accounts for, or that take nothing back.
    """

    def __init__(self, text: str) -> None:
        self.text = words_of(text)
        self.words = self.text.words
        self.found: list[tuple[int, str]] = []
        self.covered = np.zeros(len(self.words), dtype=bool)
        self.is_narrowed = False
        self._take_texts_()
        self._take_notices_()
        self._cover_(finder("either_way", start=r"(?<!\S)", end=r"(?!\S)"))

    def expression(self, reach: int | None = None) -> str:
        """Return the expression of what is found; "unknown" where other words up to `reach` beside it may narrow it."""
        found = [name for _, name in sorted(self.found)]
        near = self.rest(reach)
        is_gnu = all("GPL" in each or "GFDL" in each for each in found)
        if reach is None and not is_gnu and any(self._says_more(*each) for each in stretches(~self.covered)):
            return UNKNOWN
        names_gnu = _GNU_NAMED.search(near) and not any("GPL" in each for each in found)
        if self.is_narrowed or names_gnu or _restrictions().search(near):
            return UNKNOWN
        sign = " OR " if self._is_choice() else " AND "
        return canonical(sign.join(f"({each})" for each in dict.fromkeys(found))) or UNKNOWN

    def rest(self, reach: int | None = None) -> str:
        """Return the words that nothing accounts for, a line each run of them."""
        left = ~self.covered
        if reach is not None:
            left &= np.convolve(self.covered, np.ones(2 * reach + 1))[reach : reach + len(left)] > 0.5
        return "\n".join(runs_of(self.words, left))

    def _is_choice(self) -> bool:
        """Return whether the text lets one choose, of what it names behind that."""
        joined = " ".join(self.words)
        if finder("choice").search(joined):
            return True
        sign = finder("choice_of_following").search(joined)
        return sign is not None and min(self.found)[0] >= joined.count(" ", 0, sign.start()) - _MAX_OTHER_WORDS

    def _says_more(self, start: int, end: int) -> bool:
        """Return whether words beside a licence are more than its title and who made what."""
        num_other, is_holders = 0, "copyright" in self.words[start:end]
        for _, clause in groupby(range(start, end), lambda at: self.text.clause[at]):
            places = list(clause)
            joined = " ".join(self.words[at] for at in places)
            other = [at for at in places if self.words[at] not in phrases()["empty"] and not self.words[at].isdigit()]
            are_names = all(self.text.is_name[at] for at in other)
            if finder("attributes").search(joined):
                other = [at for at in other if self.words[at] not in phrases()["of_origin"]]
                other = [at for at in other if not self.text.is_name[at]]
                is_said = len(other) < (_MAX_HOLDER_WORDS if "copyright" in joined else 1)
            else:  # a title, or more holders
                is_said = (is_holders or start == 0) and are_names and not finder("narrows_within").search(joined)
            if not is_said:
                num_other += sum(self._weight(at) for at in other)
        return num_other > _MAX_OTHER_WORDS

    def _weight(self, at: int) -> int:
        """Return 1 for a word that can be a name, as few words of licences are."""
        usage = standard_texts().num_texts[self.words[at]]
        return 1 if usage < (_COMMON_TEXTS if self.text.is_name[at] else 1) else _MAX_OTHER_WORDS + 1

    def _cover_(self, pattern: re.Pattern[str]) -> None:
        words = ["\0" if done else word for word, done in zip(self.words, self.covered)]
        starts = np.cumsum([0, *(len(word) + 1 for word in words)])
        for match in pattern.finditer(" ".join(words)):
            start, end = np.searchsorted(starts, match.span()).tolist()
            self.covered[start:end] = True

    def _take_texts_(self) -> None:
        texts = standard_texts()
        runs = hashed_runs(texts.numbers(self.words))
        free = np.ones(len(runs), dtype=bool)
        for _ in range(_MAX_TEXTS):
            best = texts.best(self.words, runs, free)
            if best is None:
                return
            self.found.append((best.start, best.identifier))
            self.is_narrowed |= best.is_narrowed
            taken = np.zeros(len(self.words) + RUN, dtype=bool)
            taken[best.start : best.start + len(best.covered)] = best.covered
            for at in range(RUN):
                free &= ~taken[at : at + len(free)]
            self.covered |= taken[: len(self.words)]
        self.is_narrowed = True

    def _take_notices_(self) -> None:
        """Find the notices in the words that no standard text accounts for."""
        words = ["\0" if done else word for word, done in zip(self.words, self.covered)]
        joined = " ".join(words)
        starts = np.cumsum([0, *(len(word) + 1 for word in words)])
        found: list[tuple[str, int, int]] = []
        for pattern in _GNU_NOTICES:
            for match in pattern.finditer(joined):
                later = bool(match.groupdict().get("later"))
                found.append((gnu_identifier(match["family"], match["version"], match["minor"], later), *match.span()))
        found += [(PUBLIC_DOMAIN, *match.span()) for match in _IN_PUBLIC_DOMAIN.finditer(joined)]
        found = [(name, *np.searchsorted(starts, (start, end)).tolist()) for name, start, end in found]
        named_licences: list[tuple[str, int, int]] = []
        reached, is_named = 0, np.zeros(len(words) + 1, dtype=bool)
        for match in _UNDER.finditer(joined):
            at = int(np.searchsorted(starts, match.end()))
            if at >= reached:
                named, reached = self._named_from_(words, at, match.group())
                named_licences += named
                for _, start, end in named:
                    is_named[start:end] = True
        found = [each for each in found if not is_named[each[1]]] + named_licences
        if not found and not self.found and (unversioned := _GNU_UNVERSIONED.search(joined)):
            version, minor = _FIRST.get(unversioned["family"], ("2", "0"))
            found.append((gnu_identifier(unversioned["family"], version, minor, or_later=True), 0, 0))
        names = [name for name, _, _ in found]
        later_too = {name.replace("-or-later", "-only") for name in names if "-or-later" in name}
        self.found += [(start, name) for name, start, _ in found if name not in later_too]
        for _, start, end in found:
            self.covered[start:end] = True
        # a notice stands in the text of its licence, too; and what all of GNU's end with in that of the latest
        families = [name for _, name in self.found]
        families += ["GPL-3.0-only"] if any("GPL" in each for each in families) else []
        if families:
            self.covered |= standard_texts().covered_by(families, self.words)

    def _named_from_(self, words: list[str], at: int, sign: str) -> tuple[list[tuple[str, int, int]], int]:
        """Return what is named behind "under" and the like, with its words: one name, or several to choose from; and
        the word up to which names were looked for.
        """
        start, named = at, name_at(words, at)
        if named is not None and named[1] == at + 1 and sign in _ADDRESS:
            named = None  # the first word of a host: curl.haxx.se
        while named is None and at < min(start + 10, len(words)) and words[at] in phrases()["on_the_way"]:
            at += 1
            named = name_at(words, at)
        if named is None:
            is_other = sign in _BINDING and _OTHER.match(" ".join(words[at : at + 5])) is not None
            self.is_narrowed |= is_other
            return [], at
        is_dual = "dual" in words[max(start - 8, 0) : start] or "dually" in words[max(start - 3, 0) : start]
        choice: list[str] = []
        start = at
        while named is not None and len(choice) < _MAX_CHOICES:
            choice.append(named[0])
            end = named[1]
            following = (_NEXT_OF_DUAL if is_dual else _NEXT).match(" ".join(words[end : end + 8]) + " ")
            at = end + len(following.group().split()) if following else end
            named = (name_at(words, at) or _bare_gnu(words, at)) if following else None
        self.is_narrowed |= named is not None
        # a text that begins with "W3C" isn't under its licence; of the public domain much is said
        is_named = (sign or end > start + 1) and PUBLIC_DOMAIN not in choice
        return [(" OR ".join(dict.fromkeys(choice)), start, end)] if is_named else [], end
