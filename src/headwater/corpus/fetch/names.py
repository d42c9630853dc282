"""How a run file names packages to fetch: `deb:NAME` from Debian's archive, `pypi:NAME` from the Python Package Index.

Names that change with the release are given as alternatives, the best first: `deb:python3.13-doc|python3.12-doc`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

CHANNELS = ("deb", "pypi")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]{0,99}")


@dataclass(frozen=True, slots=True)
class PackageName:
    """One package of one channel."""

    channel: str
    name: str

    def __str__(self) -> str:
        return f"{self.channel}:{self.name}"

    @property
    def folder(self) -> str:
        """The name of the folder that it is unpacked to."""
        return f"{self.channel}-{self.name}"


def parse_names(text: str) -> list[PackageName]:
    """Return the alternatives that an entry of `fetched` names; raise ValueError for what names no package."""
    channel, colon, names = text.partition(":")
    found = [PackageName(channel, name.strip()) for name in names.split("|")]
    if not colon or channel not in CHANNELS or not all(_NAME.fullmatch(each.name) for each in found):
        raise ValueError(
            f"{text!r} names no package; write deb:NAME or pypi:NAME, with alternatives as deb:NAME|OTHER-NAME"
        )
    return found
