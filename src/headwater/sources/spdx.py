"""Licences by their SPDX identifiers: expressions, groups, and the names that people write instead.

The identifiers are those of https://spdx.org/licenses; the public domain, which has none, is LicenseRef-public-domain.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable

from headwater.sources.licence_address import licence_at

PUBLIC_DOMAIN, UNKNOWN = "LicenseRef-public-domain", "unknown"

_PERMISSIVE = (
    f"{PUBLIC_DOMAIN} CC0-1.0 Unlicense PDDL-1.0 0BSD MIT-0 MIT Apache-1.1 Apache-2.0 BSD-1-Clause BSD-2-Clause* ISC "
    "BSD-3-Clause* BSD-4-Clause* Zlib zlib-acknowledgement libpng* BSL-1.0 PSF-2.0 Python-2.0* CNRI-Python* X11* HPND* "
    "NCSA PostgreSQL curl NTP OpenSSL* ZPL-2.1 WTFPL Unicode-* W3C* CC-BY-1.0 CC-BY-2.0 CC-BY-2.5 CC-BY-2.5-AU "
    "CC-BY-3.0 CC-BY-3.0-AT CC-BY-3.0-AU CC-BY-3.0-DE CC-BY-3.0-IGO CC-BY-3.0-NL CC-BY-3.0-US CC-BY-4.0 "
    "Artistic-2.0 TCL Vim Ruby PHP-3.0* BlueOak-1.0.0 AFL-3.0 MS-PL UPL-1.0 FSFAP FSFUL* FTL OLDAP-2.8 ImageMagick IJG "
    "OFL-1.1 Beerware LicenseRef-WordNet-*"
)
_COPYLEFT = (
    "GPL-* LGPL-* AGPL-* MPL-* EPL-* CDDL-* EUPL-* OSL-* CPL-1.0 IPL-1.0 CC-BY-SA-* GFDL-* Artistic-1.0* QPL-1.0 MS-RL "
    "CECILL-* ODbL-1.0 LPPL-*"
)
# an identifier that ends in * stands for all that begin so
GROUPS = {
    "public_domain": [PUBLIC_DOMAIN, "CC0-1.0", "Unlicense", "PDDL-1.0", "0BSD", "MIT-0"],
    "permissive": _PERMISSIVE.split(),
    "copyleft": _COPYLEFT.split(),
}
_LISTED = [name.rstrip("*") for group in GROUPS.values() for name in group]
_BY_SMALL_LETTERS = {name.lower(): name for name in _LISTED if name[-1] != "-"}
_KNOWN = [*GROUPS["permissive"], *GROUPS["copyleft"], "CC-BY-NC*", "CC-BY-ND*", "LicenseRef-*"]
_KNOWN_NAMES = frozenset(name for name in _KNOWN if name[-1] != "*")
_KNOWN_BEGINNINGS = tuple(name[:-1] for name in _KNOWN if name[-1] == "*")

_L = r"(?: licen[cs]e)?"
_COUNTRY = r"u\.?s\.?a?|united states(?: of america)?|u\.?k|united kingdom|e\.?u|european union|canada|australia|world"
_PLACE = rf"(?:[ ,]+(?:worldwide|(?:in|within|throughout) (?:the )?(?:{_COUNTRY})))?"
_WORK = r"(?:work|text|book|e-?book|document|file|data|data ?set|image|article|edition|page|content)s?"
# each is matched whole: what stands beside a name may take back what it gives
_NAMES = {
    PUBLIC_DOMAIN: rf"pd|(?:(?:this|the|these) {_WORK}(?: of this {_WORK})? (?:is|are) )?"
    r"(?:in |released (?:in)?to |dedicated to |placed in )?(?:the )?public[ -]domain"
    rf"(?: mark(?: 1\.0)?| dedication| work| licen[cs]e)?{_PLACE}",
    "MIT": rf"(?:the )?(?:expat|mit){_L}(?: \(mit\))?",
    "Apache-2.0": rf"(?:the )?apache(?: software)?{_L}[ ,v-]*(?:version )?2(?:\.0)?{_L}|apache software license",
    "BSD-2-Clause": rf"(?:the )?(?:simplified bsd|bsd[ -]2(?:[ -]clause)?|2[ -]clause bsd){_L}",
    "BSD-3-Clause": rf"(?:the )?(?:(?:new|modified|revised)[ -])?bsd(?:[ -]3(?:[ -]clause)?)?{_L}|3[ -]clause bsd{_L}",
    "ISC": r"isc licen[cs]e(?: \(iscl\))?",
    "PSF-2.0": rf"psf{_L}|python software foundation licen[cs]e",
    "Unlicense": rf"(?:the )?unlicense{_L}",
    "MPL-2.0": r"(?:mozilla public licen[cs]e|mpl)[ ,v.-]*(?:version )?2(?:\.0)?",
    "CC0-1.0": r"(?:cc[ -]?0|creative commons zero)(?:[ -]v?1\.0)?(?: universal)?(?: public domain dedication)?",
}
_NAMED = {identifier: re.compile(pattern, re.IGNORECASE) for identifier, pattern in _NAMES.items()}
_GNU = re.compile(
    r"(?:gnu )?(?P<family>a?gpl|lgpl|gfdl|(?:lesser |library |affero )?general public licen[cs]e)"
    rf"{_L}[ ,v-]*(?:version )?(?P<version>\d(?:\.\d)?)"
    r"(?P<later>[ ,]*(?:\+|or[ -](?:any )?(?:later|newer)(?: versions?)?)(?:,? at your option)?)?(?:[ -]only)?"
    r"(?: with (?:the )?(?:\w+ )?exception)?",
    re.IGNORECASE,
)
_TERMS = r"nc|nd|sa|non-?commercial|no ?derivatives|no ?derivs|share-?alike"
_CREATIVE_COMMONS = re.compile(
    rf"(?:(?:cc|creative commons)[ -]?(?:by|attribution)|attribution)(?P<more>(?:[ -]+(?:{_TERMS}))*){_L}[ ,-]+"
    rf"(?:v|version )?(?P<version>\d(?:\.\d)?)(?: international| unported| generic)?"
    rf"(?:[ -](?!nc|nd|sa)[a-z]{{2}})?{_L}(?: deed)?",
    re.IGNORECASE,
)
# what may stand before the name: "© 2020 A. Writer. This book is licensed under the"
_BEFORE = re.compile(
    r"(?:(?:©|\(c\)|copyright)[^;,]{0,100}[.;,] )?(?:(?:this|the) \w+(?: \w+)? is |licen[sc]e: )?"
    r"(?:(?:licen[sc]ed|released|available|published|distributed) under )?(?:the terms of )?(?:the |a |an )?",
    re.IGNORECASE,
)
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
# "Attribution 4.0 International (CC BY 4.0)", "CC BY 4.0, https://…"; both names have to be of the same
_WITH_ANOTHER_NAME = re.compile(
    r"(?P<name>.+?) ?\((?P<other>[^()]+)\)|(?P<first>[^/]+?)[.,;:]?"
    r"(?: to view a copy of this licen[cs]e,? visit:?| see)? <?(?P<address>https?://[^ >]+)>?",
    re.IGNORECASE,
)
_LISTED_AT = re.compile(
    r"(?:https?:)?(?://)?(?:www\.)?(?:spdx\.org|opensource\.org)/licenses?/([\w.+-]+?)(?:\.html|\.php|\.json|\.txt)?/?",
    re.IGNORECASE,
)
_DEPRECATED = re.compile(r"(GPL|LGPL|AGPL|GFDL)-(\d(?:\.\d)?)(\+?)")
_TOKEN = re.compile(r"\(|\)|[A-Za-z0-9][A-Za-z0-9.+-]*")
MAX_EXPRESSION, _MAX_NAME = 500, 300  # characters
# of what may stand behind WITH, all that gives more than the licence does
_EXCEPTION = re.compile(r".*(?:exception|linux-syscall-note).*|GPL-CC-1\.0|SHL-2\.[01]", re.IGNORECASE)


def spdx_of(text: str) -> str | None:
    """Return the SPDX expression that a licence's name, identifier or address stands for; None if it isn't known.

    It is known where all of the text is understood: a name beside words that may narrow it down is none.
    """
    text = " ".join(text.split()).strip(" .\"'")
    if not text or len(text) > MAX_EXPRESSION:
        return None
    if (found := _expression(text)) is not None:
        return found
    before = _BEFORE.match(text)
    if before and _DENIED.search(before.group()):
        return None
    name = text[before.end() :] if before else text
    return _of_one_name(name) or _named_twice(name) or _one_of(name)


def all_of(names: Iterable[str]) -> str:
    """Return the expression of licences that all apply, "" where none is named.

    Where one isn't understood that name, or "unknown" in place of a long one: it stands for all of them.
    """
    found: dict[str, None] = {}
    for name in names:
        if (known := spdx_of(name)) is None:
            return handed_on(name)
        found[known] = None
    return _within_limit(" AND ".join(_grouped(list(found))))


def any_of(expressions: Iterable[str]) -> str:
    """Return the expression of licences of which one may be chosen, "" of none, "unknown" of very many."""
    return _within_limit(" OR ".join(_grouped(list(dict.fromkeys(expressions)))))


def handed_on(name: str) -> str:
    """Return what a text names as its licence for the step that reads it: "unknown" for what is too long to be a name.

    Never cut: what is cut off may be what counts.
    """
    is_name = len(name) <= _MAX_NAME or spdx_of(name) is not None
    return name if is_name else UNKNOWN


def names_holder_alone(text: str) -> bool:
    """Return whether a text says who holds the rights, and nothing of what others may do."""
    text = " ".join(text.replace("©", "© ").split()).strip(" .")
    return _HOLDER.fullmatch(text) is not None and not (_DENIED.search(text) or _LICENCE_WORDS.search(text))


def _grouped(expressions: list[str]) -> list[str]:
    return expressions if len(expressions) == 1 else [f"({each})" if " " in each else each for each in expressions]


def _within_limit(expression: str) -> str:
    return expression if len(expression) <= MAX_EXPRESSION else UNKNOWN


def _of_one_name(name: str) -> str | None:
    """Return the licence of a name without any other beside it."""
    if (found := _expression(name) or _named(name)) is not None:
        return found
    address = name.strip("<>")
    if (found := licence_at(address)) is not None:
        return found
    listed = _LISTED_AT.fullmatch(address)
    return _expression(listed[1]) if listed else None


def _expression(text: str) -> str | None:
    return next((canonical(each) for each in (text, _in_its_case(text)) if is_expression(each)), None)


def _named(name: str) -> str | None:
    found = next((identifier for identifier, pattern in _NAMED.items() if pattern.fullmatch(name)), None)
    if found is not None:
        return found
    if gnu := _GNU.fullmatch(name):
        return gnu_identifier(gnu["family"], gnu["version"], bool(gnu["later"]))
    if commons := _CREATIVE_COMMONS.fullmatch(name):
        version = commons["version"]
        return commons_identifier(commons["more"], version if "." in version else f"{version}.0")
    return None


def _named_twice(name: str) -> str | None:
    """Return the licence of "Attribution 4.0 International (CC BY 4.0)", where both names are of the same."""
    both = _WITH_ANOTHER_NAME.fullmatch(name)
    if both is None:
        return None
    first = _of_one_name(both["name"] or both["first"])
    second = _of_one_name(both["other"] or both["address"])
    same = first is not None and second is not None and _base(first) == _base(second)
    return first if same else None


def _one_of(name: str) -> str | None:
    """Return the choice that "MIT/Apache-2.0" leaves, as Rust's packages wrote it once."""
    parts = [part.strip() for part in name.split("/")]
    found = [_of_one_name(part) for part in parts] if 1 < len(parts) < 6 else [None]
    known = [each for each in found if each is not None]
    return any_of(known) if len(known) == len(found) else None


def _base(identifier: str) -> str:
    return identifier.removesuffix("-only").removesuffix("-or-later")


def _in_its_case(text: str) -> str:
    """Return an expression in small letters, as data sets' cards have it, with its identifiers as SPDX spells them."""
    return _TOKEN.sub(lambda match: _identifier_in_its_case(match.group()), text)


def _identifier_in_its_case(name: str) -> str:
    if name.lower() in ("and", "or", "with"):
        return name.upper()
    if listed := _BY_SMALL_LETTERS.get(name.lower()):
        return listed
    capitals = name.upper().replace("-ONLY", "-only").replace("-OR-LATER", "-or-later")
    return capitals if _is_known(capitals) else name


def gnu_identifier(family: str, version: str, or_later: bool) -> str:
    """Return GPL-2.0-or-later and the like; `family` in GNU's words or letters."""
    family = family.lower()
    signs = {"AGPL": "affero|agpl", "LGPL": "lesser|library|lgpl", "GFDL": "documentation|gfdl"}
    letters = next((letters for letters, sign in signs.items() if re.search(sign, family)), "GPL")
    number = version if "." in version else f"{version}.0"
    return f"{letters}-{number}-{'or-later' if or_later else 'only'}"


def commons_identifier(terms: str, version: str) -> str:
    """Return CC-BY-SA-4.0 and the like; `terms` are what is said beside the attribution, in words or letters."""
    signs = {"NC": r"\bnc\b|non[ -]?commercial", "ND": r"\bnd\b|no ?deriv", "SA": r"\bsa\b|share[ -]?alike"}
    said = [sign for sign, words in signs.items() if re.search(words, terms, re.IGNORECASE)]
    return "-".join(["CC-BY", *said, version])


def is_expression(text: str) -> bool:
    """Return whether a text is an SPDX expression of licences that this module knows."""
    return _valid(text) and all(_is_known(identifier) for identifier in identifiers(text))


def canonical(expression: str) -> str:
    """Return an expression with today's identifiers in place of GPL-2.0+, PD and the like."""
    return _TOKEN.sub(lambda match: _canonical_identifier(match.group()), expression)


def _canonical_identifier(identifier: str) -> str:
    if identifier.upper() in ("PD", "PUBLIC-DOMAIN", PUBLIC_DOMAIN.upper()):
        return PUBLIC_DOMAIN
    if old := _DEPRECATED.fullmatch(identifier):
        return gnu_identifier(old[1], old[2], or_later=bool(old[3]))
    return {"Expat": "MIT", "BSD": "BSD-3-Clause", "Python-2.0": "PSF-2.0"}.get(identifier, identifier)


def identifiers(expression: str) -> list[str]:
    """Return the licences that an expression names, without exceptions (WITH), in order."""
    tokens = _TOKEN.findall(expression)
    named = [token for token, before in zip(tokens, ["", *tokens]) if before != "WITH"]
    return [_canonical_identifier(token) for token in named if token not in ("AND", "OR", "WITH", "(", ")")]


def _is_known(identifier: str) -> bool:
    return identifier in _KNOWN_NAMES or identifier.startswith(_KNOWN_BEGINNINGS)


def _valid(expression: str) -> bool:
    is_written_so = bool(_TOKEN.findall(expression)) and not _TOKEN.sub("", expression).strip()
    return is_written_so and _evaluate(expression, lambda identifier: True)


def matches(identifier: str, pattern: str) -> bool:
    """Return whether an identifier is the one allowed, or one of those that `pattern` with a * at its end stands for.

    What may be used under a later version, too, may be used under the one allowed.
    """
    if pattern.endswith("*"):
        return identifier.startswith(pattern[:-1])
    return identifier == pattern or identifier == pattern.replace("-only", "-or-later")


def allowed_patterns(allow: Collection[str]) -> list[str]:
    """Return identifiers and patterns with groups in place of their names, without `unknown`."""
    patterns: list[str] = []
    for name in allow:
        patterns += GROUPS.get(name, [] if name == UNKNOWN else [_canonical_identifier(name)])
    return patterns


def known_names() -> list[str]:
    """Return the groups and the identifiers that stand in them, without patterns."""
    listed = [name for group in GROUPS.values() for name in group if not name.endswith("*")]
    return [*GROUPS, UNKNOWN, "PD", *dict.fromkeys(listed)]


def is_allowable(name: str) -> bool:
    """Return whether a name can stand in a list of what is allowed: a group, a known identifier, a known beginning."""
    return name in known_names() or _is_known(_canonical_identifier(name.rstrip("*")))


def is_allowed(expression: str, patterns: Collection[str]) -> bool:
    """Return whether an expression's terms can be met by allowed licences alone: one side of OR, both of AND."""
    return _evaluate(canonical(expression), lambda identifier: any(matches(identifier, each) for each in patterns))


def _evaluate(expression: str, holds: Callable[[str], bool]) -> bool:
    """Return what an expression comes to; one that isn't well formed holds for nothing."""
    tokens = _TOKEN.findall(expression)
    try:
        value, at = _either(tokens, 0, holds, 0)
    except (IndexError, RecursionError):
        return False
    return value and at == len(tokens)


def _either(tokens: list[str], at: int, holds: Callable[[str], bool], depth: int) -> tuple[bool, int]:
    value, at = _both(tokens, at, holds, depth)
    while at < len(tokens) and tokens[at] == "OR":
        right, at = _both(tokens, at + 1, holds, depth)
        value = value or right
    return value, at


def _both(tokens: list[str], at: int, holds: Callable[[str], bool], depth: int) -> tuple[bool, int]:
    value, at = _one(tokens, at, holds, depth)
    while at < len(tokens) and tokens[at] == "AND":
        right, at = _one(tokens, at + 1, holds, depth)
        value = value and right
    return value, at


def _one(tokens: list[str], at: int, holds: Callable[[str], bool], depth: int) -> tuple[bool, int]:
    if tokens[at] == "(":
        if depth > 20:
            raise RecursionError
        value, at = _either(tokens, at + 1, holds, depth + 1)
        if tokens[at] != ")":
            raise IndexError
        return value, at + 1
    if tokens[at] in ("AND", "OR", "WITH", ")"):
        raise IndexError
    value, at = holds(tokens[at]), at + 1
    if at < len(tokens) and tokens[at] == "WITH":
        if not _EXCEPTION.fullmatch(tokens[at + 1]):  # the Commons Clause, say, takes away
            raise IndexError
        at += 2
    return value, at


def licence_said(names: Iterable[str]) -> str:
    """Return the SPDX expression of all the names and addresses, "" without any.

    Where one isn't understood it stands for all, as it is or as "unknown", so that no step takes its document for one
    that names none. Who holds the rights counts where nothing else is said.
    """
    said = [text for name in names if (text := " ".join(name.split()))]
    named = [text for text in said if not names_holder_alone(text)]
    return all_of(named or said)
