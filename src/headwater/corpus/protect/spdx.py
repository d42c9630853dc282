"""Licences by their SPDX identifiers: expressions, groups, and the names that people write instead.

The identifiers are those of https://spdx.org/licenses; the public domain, which has none, is LicenseRef-public-domain.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

from headwater.corpus.read.licence_address import licence_at

PUBLIC_DOMAIN, UNKNOWN = "LicenseRef-public-domain", "unknown"

_PERMISSIVE = (
    f"{PUBLIC_DOMAIN} CC0-1.0 Unlicense PDDL-1.0 0BSD MIT-0 MIT Apache-1.1 Apache-2.0 BSD-1-Clause BSD-2-Clause* ISC "
    "BSD-3-Clause* BSD-4-Clause* Zlib zlib-acknowledgement libpng* BSL-1.0 PSF-2.0 Python-2.0* CNRI-Python* X11* HPND* "
    "NCSA PostgreSQL curl NTP OpenSSL* ZPL-2.1 WTFPL Unicode-* W3C* CC-BY-1.0 CC-BY-2.0 CC-BY-2.5 CC-BY-3.0* CC-BY-4.0 "
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

_L = r"(?: licen[cs]e)?"
_NAMES = {
    PUBLIC_DOMAIN: r"pd|public[ -]domain\b.*|.*\bin the public domain\b.*",
    "MIT": rf"(?:the )?(?:expat|mit){_L}(?: \(mit\))?",
    "Apache-2.0": rf"(?:the )?apache(?: software)?{_L}[ ,v-]*(?:version )?2(?:\.0)?{_L}|apache software license",
    "BSD-2-Clause": rf"(?:the )?(?:simplified bsd|bsd[ -]2(?:[ -]clause)?|2[ -]clause bsd){_L}",
    "BSD-3-Clause": rf"(?:the )?(?:(?:new|modified|revised)[ -])?bsd(?:[ -]3(?:[ -]clause)?)?{_L}|3[ -]clause bsd{_L}",
    "ISC": r"isc licen[cs]e(?: \(iscl\))?",
    "PSF-2.0": rf"psf{_L}|python software foundation licen[cs]e",
    "Unlicense": r"(?:the )?unlicense\b.*",
    "MPL-2.0": r"(?:mozilla public licen[cs]e|mpl)[ ,v.-]*(?:version )?2(?:\.0)?",
    "CC0-1.0": r"(?:cc[ -]?0|creative commons zero)(?:[ -]v?1\.0)?(?: universal)?(?: public domain dedication)?",
}
_NAMED = {identifier: re.compile(pattern, re.IGNORECASE) for identifier, pattern in _NAMES.items()}
_GNU = re.compile(
    r"(?:gnu )?(?P<family>a?gpl|lgpl|gfdl|(?:lesser |library |affero )?general public licen[cs]e)"
    rf"{_L}[ ,v-]*(?:version )?(?P<version>\d(?:\.\d)?)"
    r"(?P<later>[ ,]*(?:\+|or[ -](?:any )?(?:later|newer)).*)?(?:[ -]only)?",
    re.IGNORECASE,
)
_TERMS = r"nc|nd|sa|non-?commercial|no ?derivatives|no ?derivs|share-?alike"
_CREATIVE_COMMONS = re.compile(
    rf"(?:(?:cc|creative commons)[ -]?(?:by|attribution)|attribution)(?P<more>(?:[ -]+(?:{_TERMS}))*){_L}[ ,-]+"
    rf"(?:v|version )?(?P<version>\d(?:\.\d)?)(?: international| unported| generic)?(?:[ -][a-z]{{2}})?{_L}(?: deed)?",
    re.IGNORECASE,
)
# what may stand before the name: "© 2020 A. Writer. This book is licensed under the"
_BEFORE = re.compile(
    r"(?:(?:©|\(c\)|copyright)[^;,]{0,100}[.;,] )?(?:(?:this|the) \w+(?: \w+)? is |licen[sc]e: )?"
    r"(?:(?:licen[sc]ed|released|available|published|distributed) under )?(?:the terms of )?(?:the |a |an )?",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"\b(?:not|no longer|never|except|unless|other than|all rights reserved|non-?commercial)\b|n['’]t\b", re.IGNORECASE
)
_WITH_ANOTHER_NAME = re.compile(r"(.+) \(([^()]+)\)")
_LISTED_AT = re.compile(r"(?:spdx\.org|opensource\.org)/licenses?/([\w.+-]+?)(?:\.html|\.php)?/?$", re.IGNORECASE)
_DEPRECATED = re.compile(r"(GPL|LGPL|AGPL|GFDL)-(\d(?:\.\d)?)(\+?)")
_TOKEN = re.compile(r"\(|\)|[A-Za-z0-9][A-Za-z0-9.+-]*")
_MAX_EXPRESSION = 500


def spdx_of(text: str) -> str | None:
    """Return the SPDX expression that a licence's name, identifier or address stands for; None if it isn't known."""
    text = " ".join(text.split()).strip(" .\"'")
    if not text or len(text) > _MAX_EXPRESSION:
        return None
    for expression in (text, _in_its_case(text)):
        if is_expression(expression):
            return canonical(expression)
    if (found := licence_at(text)) is not None:
        return found
    if listed := _LISTED_AT.search(text):
        return spdx_of(listed[1])
    before = _BEFORE.match(text)
    name = text[before.end() :] if before else text
    return _named(name) or _named_twice(name) or _one_of(name)


def _named(name: str) -> str | None:
    for identifier, pattern in _NAMED.items():
        if pattern.fullmatch(name) and not (identifier == PUBLIC_DOMAIN and _DENIED.search(name)):
            return identifier
    if gnu := _GNU.fullmatch(name):
        return gnu_identifier(gnu["family"], gnu["version"], bool(gnu["later"]))
    if commons := _CREATIVE_COMMONS.fullmatch(name):
        version = commons["version"]
        return commons_identifier(commons["more"], version if "." in version else f"{version}.0")
    return None


def _named_twice(name: str) -> str | None:
    """Return the licence of "Attribution 4.0 International (CC BY 4.0)", where both names are of the same."""
    both = _WITH_ANOTHER_NAME.fullmatch(name)
    first, second = (spdx_of(both[1]), spdx_of(both[2])) if both else (None, None)
    same = first is not None and second is not None and _base(first) == _base(second)
    return first if same else None


def _one_of(name: str) -> str | None:
    """Return the choice that "MIT/Apache-2.0" leaves, as Rust's packages wrote it once."""
    found = [spdx_of(part) for part in name.split("/")] if 0 < name.count("/") < 5 else [None]
    known = [each for each in found if each is not None]
    return " OR ".join(known) if len(known) == len(found) else None


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
    patterns = ["CC-BY-NC*", "CC-BY-ND*", "LicenseRef-*", *GROUPS["permissive"], *GROUPS["copyleft"]]
    return any(matches(identifier, pattern) for pattern in patterns)


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
    """Return identifiers and patterns with groups in place of their names, `unknown` left out."""
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
        tokens[at + 1]
        at += 2
    return value, at
