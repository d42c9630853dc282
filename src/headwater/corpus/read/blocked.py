"""Hosts and addresses that nobody wants, listed in files: of a crawl they are looked up before a page is parsed.

A host stands for those below it. Lists of millions take eight bytes an entry.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import xxhash

from headwater.core.errors import DataError
from headwater.corpus.document import Document, Drop, num_bytes
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.limits import ReadLimits, Unusable

REASON = "blocked_address"
_COMMENT = re.compile(r"(?:^|\s)#.*")


class BlockedAddresses:
    """What the files of `blocked_hosts` and `blocked_urls` list. Raises DataError for one that can't be read."""

    def __init__(self, limits: ReadLimits) -> None:
        self._hosts = [_listed(path, _host) for path in limits.blocked_hosts]
        self._urls = [_listed(path, _address) for path in limits.blocked_urls]

    def why(self, address: str) -> str:
        """Return the entry that an address is blocked by, or ""."""
        if not (self._hosts or self._urls) or not address:
            return ""
        plain = _address(address)
        parts = plain.partition("/")[0].partition(":")[0].split(".")
        hosts = (".".join(parts[at:]) for at in range(len(parts)))
        blocked = next((host for host in hosts if _is_in(host, self._hosts)), "")
        return f"host {blocked[:200]}" if blocked else f"address {plain[:200]}" if _is_in(plain, self._urls) else ""


def without_blocked(pieces: Iterable[Document | Drop], limits: ReadLimits) -> Iterator[Document | Drop]:
    """Yield pieces, a drop for each document that says of itself that it is from a blocked address."""
    blocked = BlockedAddresses(limits)
    for piece in pieces:
        why = blocked.why(piece.meta.get("url", "")) if isinstance(piece, Document) else ""
        yield piece.drop(REASON, num_bytes(piece.text), because=why) if isinstance(piece, Document) and why else piece


def _listed(path: str, plain: Callable[[str], str]) -> np.ndarray:
    """Return the sorted hashes of a file's entries, read once unless it changes."""
    try:
        return _hashes(path, Path(path).stat().st_mtime_ns, plain)
    except (OSError, Unusable) as error:
        raise DataError(f"the list of blocked addresses {path} can't be read: {error}") from None


@cache
def _hashes(path: str, changed_at: int, plain: Callable[[str], str]) -> np.ndarray:
    with InputFile(Path(path), path, "", "text").open() as stream:
        lines = (_COMMENT.sub("", line.decode("utf-8", "replace")).split() for line in stream)
        return np.unique(np.fromiter((_hash(plain(words[-1])) for words in lines if words), dtype=np.uint64))


def _hash(text: str) -> int:
    return xxhash.xxh3_64_intdigest(text.encode("utf-8", "surrogatepass"))


def _is_in(text: str, lists: list[np.ndarray]) -> bool:
    if not lists:
        return False
    wanted = np.uint64(_hash(text))
    places = ((each, int(np.searchsorted(each, wanted))) for each in lists)
    return any(at < len(each) and each[at] == wanted for each, at in places)


def _host(text: str) -> str:
    """Return a host as it is compared: "*.Example.com." is example.com."""
    text = text.lower().removeprefix("*").strip(".")
    with suppress(UnicodeError):
        text = text if text.isascii() else text.encode("idna").decode()
    return text


def _address(text: str) -> str:
    """Return an address as it is compared: without scheme, fragment, name of a user and the slash at its end."""
    with suppress(ValueError):
        parts = urlsplit(text if "://" in text else f"//{text}")
        port = f":{parts.port}" if parts.port not in (None, 80, 443) else ""
        return f"{_host(parts.hostname or '')}{port}{parts.path}{'?' * bool(parts.query)}{parts.query}".rstrip("/")
    return text
