"""The SPDX id of the licence that stands at an address, as pages and articles name theirs."""

from __future__ import annotations

import re

_CREATIVE_COMMONS = re.compile(
    r"creativecommons\.org/(?:licenses/(by(?:-nc)?(?:-nd|-sa)?)/(\d\.\d)|(publicdomain/zero)/(\d\.\d)|(publicdomain/mark))"
    r"(?:[/?#].*)?"
)
_SITE = re.compile(r"(?:https?:)?(?://)?(?:www\.)?")
_ENDING = re.compile(r"(?:-standalone)?(?:\.\w{1,5})?/?(?:[?#].*)?")
_GNU = re.compile(r"gnu\.org/(?:licenses|copyleft)/(?:old-licenses/)?(a?gpl|lgpl|fdl)-(\d\.\d)")
_OTHERS = {
    "gnu.org/licenses/fdl-1.3": "GFDL-1.3-or-later",
    "gnu.org/copyleft/fdl": "GFDL-1.3-or-later",
    "apache.org/licenses/license-2.0": "Apache-2.0",
    "opensource.org/licenses/mit": "MIT",
    "opensource.org/license/mit": "MIT",
    "opensource.org/licenses/mit-license": "MIT",
}


def licence_at(address: str) -> str | None:
    """Return the SPDX id for an address such as https://creativecommons.org/licenses/by-sa/4.0/, None if unknown.

    The text is an address and nothing else. The mark of works in the public domain has no SPDX id; it gives
    "LicenseRef-public-domain".
    """
    address = address.strip().lower()
    address = address[_SITE.match(address).end() :] if " " not in address else ""  # type: ignore[union-attr]
    if found := _CREATIVE_COMMONS.fullmatch(address):
        terms, version, zero, zero_version, _ = found.groups()
        if terms:
            return f"CC-{terms.upper()}-{version}"
        return f"CC0-{zero_version}" if zero else "LicenseRef-public-domain"
    found_other = next((name for part, name in _OTHERS.items() if _is_at(address, part)), None)
    if found_other is None and (gnu := _GNU.match(address)) and _ENDING.fullmatch(address, gnu.end()):
        # an address doesn't say whether later versions may be used
        return f"{gnu[1].upper().replace('FDL', 'GFDL')}-{gnu[2]}-only"
    return found_other


def _is_at(address: str, beginning: str) -> bool:
    return address.startswith(beginning) and _ENDING.fullmatch(address, len(beginning)) is not None
