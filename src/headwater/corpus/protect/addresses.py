"""Where e-mail and public IP addresses stand in a text. Addresses made for examples, and those of no one, stay.

Every search begins at a character that is rare, and every repetition has a bound: the time is that of one pass.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network

from headwater.corpus.protect.secrets import server_passwords
from headwater.corpus.protect.spans import Scanned, Span

# any country's two letters, and the names that people have addresses under: of code and of system units (x@y.service)
# none ends in these
_TOP = (
    "[A-Za-z]{2}|com|org|net|edu|gov|mil|int|info|biz|name|mobi|pro|aero|coop|museum|asia|jobs|travel|tel|cat|post|app|"
    "dev|tech|xyz|online|site|store|shop|email|cloud|club|live|blog|news|world|today|life|agency|digital|studio|design"
)
_DOMAIN = re.compile(rf"@((?:[A-Za-z0-9_-]{{1,63}}\.){{1,8}}(?:{_TOP}))(?![A-Za-z0-9_-]|\.[A-Za-z0-9])", re.IGNORECASE)
_LOCAL_BACKWARDS = re.compile(r"[A-Za-z0-9_%+~-][A-Za-z0-9._%+~-]{0,63}")
# RFC 2606, RFC 6761; and two letters that far more often end the name of a file
_EXAMPLE_DOMAIN = re.compile(
    r"(?:^|\.)(?:example\.(?:com|org|net|edu)|example|test|invalid|localhost|py|js|md|sh)$", re.IGNORECASE
)
_NO_PERSON = {"git", "svn", "hg", "ssh", "nobody"}

_IPV4 = re.compile(r"(?<![\w.~-])(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?![\w+~-]|\.\d)")
_VERSION = re.compile(r"(?:version|release|v|[<>=~!]=)\s?$", re.IGNORECASE)
_IPV6_END = re.compile(r":[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:]{0,29}(?![\w:])")
_IPV6_START = re.compile(r"(?:^|[^\w:.])([23][0-9A-Fa-f]{3})$")
# the registries of special addresses, RFC 6890 and its successors, and everything from multicast on; tables of our own,
# since those of the `ipaddress` module differ between versions of Python
_SPECIAL_IPV4_NAMES = (
    "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 "
    "192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/3"
)
_SPECIAL_IPV4 = [IPv4Network(name) for name in _SPECIAL_IPV4_NAMES.split()]
_SPECIAL_IPV6 = [IPv6Network(name) for name in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")]


def find_emails(scanned: Scanned) -> Iterator[Span]:
    """Yield where e-mail addresses stand, but for those under example domains (RFC 2606).

    In SCHEME://USER:PASSWORD@HOST there is none where the password alone is hidden, or a sample: the host stays.
    """
    text = scanned.text
    if "@" not in text:
        return
    hides_passwords = "password" in scanned.kinds
    servers = {end for (_, end), is_secret in server_passwords(text) if hides_passwords or not is_secret}
    for match in _DOMAIN.finditer(text):
        at = match.start()
        local = _LOCAL_BACKWARDS.match(text[max(at - 64, 0) : at][::-1])
        if local is None or _EXAMPLE_DOMAIN.search(match.group(1)):
            continue
        start = at - local.end() + (text[at - local.end()] in ".-%")
        if text[start:at].lower() not in _NO_PERSON and at not in servers:
            yield start, match.end()


def find_ip_addresses(scanned: Scanned) -> Iterator[Span]:
    """Yield where IPv4 and IPv6 addresses stand that belong to somebody: not private, local, or kept for examples.

    Four numbers of which the first and another are below ten are taken for a version or a section: of the addresses
    in use one in 200 has this form, of the versions of programs nearly all.
    """
    text = scanned.text
    for run in scanned.digit_runs(4):
        for match in _IPV4.finditer(text, *run):
            if not _is_version(match) and _is_public_ipv4(match.group()):
                yield match.span()
    for match in _IPV6_END.finditer(text):
        start = _IPV6_START.search(text[max(match.start() - 5, 0) : match.start()])
        if start is not None and _is_public_ipv6(start.group(1) + match.group()):
            yield match.start() - 4, match.end()


def _is_version(match: re.Match[str]) -> bool:
    before = match.string[max(match.start() - 9, 0) : match.start()]
    lengths = [len(number) for number in match.groups()]
    return (lengths[0] == 1 and min(lengths[1:]) == 1) or _VERSION.search(before) is not None


def _is_public_ipv4(text: str) -> bool:
    try:
        address = IPv4Address(text)
    except AddressValueError:  # a number over 255, a zero before another digit
        return False
    return not any(address in network for network in _SPECIAL_IPV4)


def _is_public_ipv6(text: str) -> bool:
    try:
        address = IPv6Address(text)
    except AddressValueError:
        return False
    has_parts = sum(map(bool, text.split(":"))) >= 3  # 2006::3 is a date and an item in a list
    return has_parts and not any(address in network for network in _SPECIAL_IPV6)
