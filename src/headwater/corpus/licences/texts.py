"""Which licences a text states: by the standard texts of the SPDX list, and by notices that name a licence.

A text is compared by its runs of four words. A standard text stands where nine tenths of its words and of those in its
place agree. What a text says beyond what it is found to say may take back what that gives ("for non-commercial use
only"): then it is "unknown". In doubt so it is, too, where words that grant something belong to no text that is known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from headwater.corpus.licences.matching import EITHER_WAY, RUN, hashed_runs, runs_of, standard_texts
from headwater.corpus.licences.names import GNU_FAMILY, LATER, gnu_identifier, name_at
from headwater.corpus.licences.standards import license_words
from headwater.sources.spdx import PUBLIC_DOMAIN, UNKNOWN, canonical

MAX_CHARACTERS = 1_000_000  # of a text that is looked at; more may say more
_HEAD_CHARACTERS = 6000
_MAX_TEXTS = 60  # in one
_TAG = re.compile(r"SPDX-License-Identifier:[ \t]{0,4}([A-Za-z0-9(][A-Za-z0-9 ().+-]{0,201})")
_MAX_TAG_CHARACTERS = 201
_GO_ON = ("AND", "OR", "WITH")  # with something that isn't understood
_SPEAKS = re.compile(r"licen[cs]|gpl|permi|distribut|public|copyright|copying|proprietary", re.IGNORECASE)

# beside a licence: what narrows it down
_RESTRICTS = re.compile(
    r"\b(?:non ?commercial\w*|commons clause|change (?:license|date)|business source|proprietary|confidential"
    r"|evaluation|with restrictions|until|expires?"
    r"|(?:may|must|shall) not|cannot|not (?:permitted|allowed)|prohibited|forbidden"
    r"|(?:is|are|been) not (?:\w+ )?(?:licensed|covered|released|free|open|granted|available|included|placed|in)"
    r"|(?:academic|educational|research|scientific|personal|private|internal|commercial|military)"
    r" (?:use|purposes?|license|research|institutions?|applications?|only)|commercially|for research"
    r"|except for|nuclear|weapons?|evil|reverse engineer\w*|decompil\w*|revoked|trial|end user|eula"
    r"|sell(?:ing)?|fee|royalt(?:y|ies)|trade secrets?|exclusive property|reserves? the right"
    r"|without (?:the |our |prior |express |explicit |written )+(?:permission|consent))\b"
)
# or words that limit near words for what is given
_LIMIT = (
    r"(?:not|no|only|must|except\w*|exclud\w*|restrict\w*|limited|prohibit\w*|disallow\w*|unless|solely|never|nobody|neither"
    r"|reserved (?:to|for|by))"
)
_RIGHT = (
    r"(?:use[ds]?|using|licen[sc]\w*|grant\w*|cop(?:y|ies|ying)|distribut\w*|rights?|permi\w+|sell\w*|sold|sale|compan\w+"
    r"|persons?|people)"
)
_LIMITS = re.compile(
    rf"\b{_LIMIT} (?:\w+ ){{0,8}}{_RIGHT}\b|\b{_RIGHT} (?:\w+ ){{0,8}}{_LIMIT}\b|^{_LIMIT}(?!\S)|\b(?:only|must ask)$"
)
# words that say nothing beside a licence: of them and of names its titles, introductions and links are made
_EMPTY = frozenset(
    re.findall(
        r"\w+",
        "0 1 2 3 a agreement all also alternatively an and apache are as at available based be below bsd by can cc0 "
        "clause code com commons complete conditions contained copied copy copyright corresponding creative debian "
        "details distributed dual either expat expression faq file files following for found free from full general "
        "gnu gpl header hereby html http https in information institute is isc it its laid lgpl library license "
        "licensed licenses linux may mit modified modify more most mozilla new no of on open opensource or org "
        "other out package part parts permitted please portions program project provided public redistribute "
        "released reserved revised rights s scripts see share sil simplified software source spdx subject summary "
        "system systems terms text that the their these this to txt under universal usage use used using usr "
        "version waiver warranty which with without www x11 you zlib",
    )
)
_MAX_OTHER_WORDS, _MAX_HOLDER_WORDS = 2, 12  # in a row; more with each "copyright"
# what only the words of a licence say
_GRANTS = re.compile(
    r"\b(?:permission (?:is|to)|redistributions? (?:and use|in|of)|hereby grant\w*|grants? (?:you|to|licensee)|licensee"
    r"|licensor|terms of use)\b"
)
_ALLOWS = re.compile(
    rf"{_GRANTS.pattern}|\b(?:license agreement|you (?:may|agree|are (?:allowed|permitted|free))|permitted to"
    r"|free to use)\b"
)
# at the head of code that states no licence: what reserves the rights all the same
_RESERVES = re.compile(
    r"\b(?:proprietary|confidential|trade secrets?|commons clause|non ?commercial (?:use|purposes?|license)"
    r"|license agreement"
    r"|(?:unauthori[sz]ed|strictly) (?:copying|use|reproduction|distribution|prohibited)|business source license)\b"
)

_VERSION = r"(?:version|v) ?(?P<version>\d)(?!\d)(?: (?P<minor>\d)(?!\d))?(?: dated \w+ \d{4})?(?: of the license)?"
_PUBLISHED = r"(?: [al]?gpl| gfdl)?(?: (?:\w+ )?(?:as )?published by the free software foundation(?: inc)?)?"
_GNU_NOTICES = [
    re.compile(rf"gnu {GNU_FAMILY}{_PUBLISHED}(?: either| in| only)? {_VERSION}{LATER}"),
    re.compile(rf"{_VERSION}{LATER}(?: version)? of the gnu {GNU_FAMILY}"),
    # where Debian keeps the texts that many packages are under
    re.compile(r"common licenses (?P<family>lgpl|gpl|gfdl) (?P<version>\d)(?: (?P<minor>\d)(?!\d))?"),
]
_GNU_NAMED = re.compile(r"\b[al]?gpl\w*|general public license")
_GNU_UNVERSIONED = re.compile(rf"(?:terms of|under) the (?:gnu )?{GNU_FAMILY}")
# where the name of a licence may follow, perhaps behind some of the words below
_FIRST = {"free documentation": ("1", "1"), "general public": ("1", "0")}  # versions; of the others 2.0
_UNDER = re.compile(
    r"^(?=\S)|\b(?:under|terms of|subject to|governed by|covered by|uses|license|common|either|https?|www)(?= )"
)
_BINDING = ("under", "terms of", "subject to", "governed by", "covered by")
_ON_THE_WAY = frozenset(
    re.findall(
        r"\w+",
        "both either the a an following terms conditions and of as in license licenses version compliance with http "
        "https www opensource spdx org osi approved your option one under gnu choice summary dual 1 2",
    )
)
# "under the Elastic License": one that isn't understood, and no family whose version is missing
_OTHER = re.compile(
    r"(?!(?:\w+ )?(?:licensed|see|apache|[al]?gpl|general|gnu|mit|bsd|isc|public|academic|eclipse"
    r"|artistic|perl|this|that|these|same|following|above|which|such|its|their|respective|applicable|original|open|other"
    r"|any|each|modified|software|different|two|multiple|either|first|second|file|copy|s)\b)"
    r"[a-z]+(?: (?!see|the|of|to|in|for|or|and|this|is|that|file|under)[a-z]+){0,3}? license(?!\S)"
)
_NEXT = re.compile(r"(?:license |licenses )?(?:or|and or)(?: the| under the| at your option)* ")
_SOURCE = "(?:file|code|source|software|program|work|module|library|script|package|data|text|document|header)"
_PLACED = "(?:in|(?:placed|put|released|dedicated|donated|given|contributed) (?:in(?:to)?|to|under))"
_IN_PUBLIC_DOMAIN = re.compile(
    rf"\b(?:this|these|all) (?:\w+ )?{_SOURCE}s?(?: files?| code| program)? (?:is|are|has been|have been|was)"
    rf"(?: hereby| all| now| explicitly)? {_PLACED} the public domain"
    r"|(?:^|\bhereby )(?:\w+ )?(?:placed?|released?|dedicated?)(?: \w+)? (?:in|into|to) the public domain"
    r"|\bpublic domain no license required|disclaims? copyright to this source code"
)
_CHOICE = re.compile(
    r"\b(?:either of|dual licen|dually licen|at your option under|as an alternative|disjunction of|at your choice"
    r"|alternatively (?:\w+ ){1,6}(?:under|terms|license|licensed|released|distributed|available)"
    r"|choose (?:either|one|between|which)|(?:one of|two) (?:the following |these )?(?:two )?licenses"
    r"|choice of (?:one of )?two|either license|dual (?:bsd|mit) gpl\w*|you choose|otherwise the following license)\b"
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
        return UNKNOWN if _RESERVES.search(stated.rest()) else None
    return stated.expression(reach=60)


def licence_of_text(text: str) -> str | None:
    """Return the expression of the licences that a text states; "unknown" where they aren't understood, None of none.

    Several are joined by AND, or by OR where the text speaks of a choice. A GNU licence's own text doesn't say
    whether later versions may be used; it is taken for that version only. A text longer than MAX_CHARACTERS is unknown.
    """
    if len(text) > MAX_CHARACTERS:
        return UNKNOWN
    stated = _Stated(text)
    if not stated.found:
        return UNKNOWN if _ALLOWS.search(stated.rest()) else None
    return stated.expression()


def _says_more(run: str) -> bool:
    """Return whether words beside a licence are more than its title, an introduction and who holds the rights."""
    words = run.split()
    num_other = sum(word not in _EMPTY and not word.isdigit() for word in words)
    return num_other > _MAX_OTHER_WORDS + _MAX_HOLDER_WORDS * words.count("copyright")


class _Stated:
    """What a text states: `found` are the licences, `covered` the words that a standard text or notice accounts for."""

    def __init__(self, text: str) -> None:
        self.words = license_words(text)
        self.found: list[str] = []
        self.covered = np.zeros(len(self.words), dtype=bool)
        self.is_narrowed = False
        self._take_texts_()
        self._take_notices_()

    def expression(self, reach: int | None = None) -> str:
        """Return the expression of what is found; "unknown" where other words up to `reach` beside it may narrow it."""
        near = EITHER_WAY.sub("", self.rest(reach))
        is_gnu = all("GPL" in each or "GFDL" in each for each in self.found)
        if reach is None and not is_gnu and any(_says_more(run) for run in near.split(" | ")):
            return UNKNOWN
        is_limited = any(_LIMITS.search(run) for run in near.split(" | "))
        if self.is_narrowed or is_limited or _RESTRICTS.search(near) or _GRANTS.search(near):
            return UNKNOWN
        if _GNU_NAMED.search(near) and not any("GPL" in each for each in self.found):
            return UNKNOWN
        sign = " OR " if _CHOICE.search(" ".join(self.words)) else " AND "
        return canonical(sign.join(f"({each})" for each in dict.fromkeys(self.found))) or UNKNOWN

    def rest(self, reach: int | None = None) -> str:
        """Return the words that nothing accounts for, those between others apart."""
        left = ~self.covered
        if reach is not None:
            left &= np.convolve(self.covered, np.ones(2 * reach + 1))[reach : reach + len(left)] > 0.5
        return " | ".join(runs_of(self.words, left))

    def _take_texts_(self) -> None:
        texts = standard_texts()
        runs = hashed_runs(texts.numbers(self.words))
        free = np.ones(len(runs), dtype=bool)
        for _ in range(_MAX_TEXTS):
            best = texts.best(self.words, runs, free)
            if best is None:
                return
            self.found.append(best.identifier)
            self.is_narrowed |= best.is_narrowed
            free[max(best.start - RUN + 1, 0) : best.end] = False
            self.covered[best.start : best.end] = True
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
        for match in _UNDER.finditer(joined):
            found += self._named_from_(words, int(np.searchsorted(starts, match.end())), match.group())
        if not found and not self.found and (unversioned := _GNU_UNVERSIONED.search(joined)):
            version, minor = _FIRST.get(unversioned["family"], ("2", "0"))
            found.append((gnu_identifier(unversioned["family"], version, minor, or_later=True), 0, 0))
        names = [name for name, _, _ in found]
        self.found += [
            name
            for name in names
            if name.replace("-only", "-or-later") == name or name.replace("-only", "-or-later") not in names
        ]
        for _, start, end in found:
            self.covered[start:end] = True
        # a notice stands in the text of its licence, too; and what all of GNU's end with in that of the latest
        families = [*self.found, "GPL-3.0-only"] if any("GPL" in each for each in self.found) else self.found
        if families:
            self.covered |= standard_texts().covered_by(families, self.words)

    def _named_from_(self, words: list[str], at: int, sign: str) -> Iterator[tuple[str, int, int]]:
        """Yield what is named behind "under" and the like, with its words: one name, or several to choose from."""
        start, named = at, name_at(words, at)
        while named is None and at < min(start + 10, len(words)) and words[at] in _ON_THE_WAY:
            at += 1
            named = name_at(words, at)
        if named is None:
            is_other = sign in _BINDING and _OTHER.match(" ".join(words[at : at + 5])) is not None
            self.is_narrowed |= is_other
            return
        choice: list[str] = []
        start = at
        while named is not None:
            choice.append(named[0])
            end = named[1]
            following = _NEXT.match(" ".join(words[end : end + 8]) + " ")
            named = name_at(words, end + len(following.group().split())) if following else None
        # a text that begins with "W3C" isn't under its licence; of the public domain much is said
        if (sign or end > start + 1) and PUBLIC_DOMAIN not in choice:
            yield " OR ".join(dict.fromkeys(choice)), start, end
