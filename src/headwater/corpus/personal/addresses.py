"""Where e-mail and public IP addresses stand in a text. Addresses made for examples, and those of no one, stay.

Every search begins at a character that is rare, and every repetition has a bound: the time is that of one pass.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from headwater.corpus.personal.secrets import server_passwords
from headwater.corpus.step import Span
from headwater.corpus.toml_tables import listed

# a domain ends where its script does: in texts without spaces the next word follows it immediately. A call of a
# method (x@y.to(z), x@y.to_list), the line of a file (name@host.py:12) and an icon of its size (x@2x.md) are none;
# another address in brackets may follow
_DOMAIN = (
    r"(?!\dx\.(?:app|cc|md|mov|pl|ps|py|rs|sh|so|zip)\b)"
    r"((?:[\w\u0900-\u0dff-]{1,63}\.){1,8}([A-Za-z]{2,24}|[Xx][Nn]--[A-Za-z0-9-]{2,59}|[^\x00-\xbf]{2,30}))"
    r"(?![A-Za-z0-9]|(?:[(\[]|_(?=[A-Za-z]))(?![\w.'%+~-]{1,64}@)|\.[A-Za-z0-9]|:\d{1,6}\b(?!/))"
)
_SIGN_AND_DOMAIN = {sign: re.compile(sign + _DOMAIN) for sign in ("@", "%40")}  # %40 is the sign in a link
# letters of the scripts that have spaces, or of the others alone: backwards from the sign
_SIGNS, _SPACED = "_%+~-", r"A-Za-z0-9\u00b5-\u0dff\u10a0-\u10ff\u1100-\u167f\u1e00-\u1fff"
_LOCAL_BACKWARDS = re.compile(rf"[{_SPACED}{_SIGNS}][{_SPACED}.'{_SIGNS}]{{0,63}}|[^\W{_SPACED}]{{1,64}}")
_EXAMPLE_DOMAIN = re.compile(  # RFC 2606, RFC 6761
    r"(?:^|\.)(?:example\.(?:com|org|net|edu)|example|test|invalid|localhost)$", re.IGNORECASE
)
_NO_PERSON = {"git", "svn", "hg", "ssh", "nobody"}

# a character that is a digit first: the search passes quickly over all others
_IPV4 = re.compile(r"[0-9](?<![\w.~-].)[0-9]{0,2}(?:\.[0-9]{1,3}){3}(?![\w+~-]|\.\d)", re.DOTALL)
_VERSION = re.compile(r"(?:version|release|v|[<>=~!]=)\s?$", re.IGNORECASE)
_IPV6 = re.compile(  # from its first colon on, which is rarer than a digit
    r":(?<=[23][0-9A-Fa-f]{3}:)(?<![\w:.].{5})[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:]{0,29}(?![\w:])", re.DOTALL
)


def find_emails(text: str) -> Iterator[Span]:
    """Yield where e-mail addresses stand, in any script, but for those under example domains (RFC 2606).

    In SCHEME://USER:PASSWORD@HOST there is none where the password is a sample: the host stays.
    """
    for sign in _SIGN_AND_DOMAIN:
        if sign in text:
            yield from _emails(text, sign)


def _emails(text: str, sign: str) -> Iterator[Span]:
    samples = {end for (_, end), is_secret in server_passwords(text) if not is_secret}
    found_to = 0
    for match in _SIGN_AND_DOMAIN[sign].finditer(text):
        at = match.start()
        local = _LOCAL_BACKWARDS.match(text[max(at - 64, found_to) : at][::-1])
        top = _top_of(match.group(2).lower())
        if local is None or at in samples or not top or _EXAMPLE_DOMAIN.search(match.group(1)):
            continue
        name = local.group()[::-1].lstrip(".'-%")
        if name and name.lower() not in _NO_PERSON:
            found_to = match.end() - (0 if match.group(2).isascii() else len(match.group(2)) - len(top))
            yield at - len(name), found_to


def _top_of(letters: str) -> str:
    """Return the top-level domain that these letters are, or begin with in a script without spaces; else nothing.

    One in Punycode is taken as it is.
    """
    if letters.startswith("xn--"):
        return letters
    lengths = [len(letters)] if letters[0].isascii() else range(len(letters), 1, -1)
    return next(
        (letters[:length] for length in lengths if letters[:length] in listed("headwater.corpus.personal", "domains")),
        "",
    )


def find_ip_addresses(text: str) -> Iterator[Span]:
    """Yield where IPv4 and IPv6 addresses stand that belong to somebody: not private, local, or kept for examples.

    Four numbers of which the first and another are below ten are taken for a version or a section: of the addresses
    in use one in 200 has this form, of the versions of programs nearly all.
    """
    for match in _IPV4.finditer(text):
        if not _is_version(match) and _is_public(match.group()):
            yield match.span()
    for match in _IPV6.finditer(text):
        start, end = match.start() - 4, match.end()
        # 2006::3 is a date and an item in a list
        if sum(map(bool, text[start:end].split(":"))) >= 3 and _is_public(text[start:end]):
            yield start, end


def _is_version(match: re.Match[str]) -> bool:
    before = match.string[max(match.start() - 9, 0) : match.start()]
    lengths = [len(number) for number in match.group().split(".")]
    return (lengths[0] == 1 and min(lengths[1:]) == 1) or _VERSION.search(before) is not None


@cache
def _special_networks() -> list[IPv4Network | IPv6Network]:
    """Return the networks of nobody: a table of our own, since Python's differs between versions."""
    return [ip_network(name) for name in listed("headwater.corpus.personal", "special_networks")]


def _is_public(text: str) -> bool:
    try:
        address = ip_address(text)
    except ValueError:  # a number over 255, a zero before another digit
        return False
    return not any(address in network for network in _special_networks())
