"""Which licence a page, book or article names of itself, out of all that it says of its rights."""

from __future__ import annotations

from collections.abc import Iterable

from headwater.corpus.protect.spdx import spdx_of
from headwater.corpus.read.licence_address import licence_at

_MAX_CHARACTERS = 300


def licence_said(names: Iterable[str]) -> str:
    """Return the SPDX expression of the first name or address that is known; else the first of all, "" without any.

    A name that isn't known is handed on as it is, so that no step takes its document for one that names none.
    """
    said = [text for name in names if (text := " ".join(name.split()))]
    known = (found for text in said if (found := spdx_of(text) or licence_at(text)))
    return next(known, said[0][:_MAX_CHARACTERS] if said else "")
