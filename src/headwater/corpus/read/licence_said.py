"""Which licence a page, book or article names of itself, out of all that it says of its rights."""

from __future__ import annotations

from collections.abc import Iterable

from headwater.corpus.protect.spdx import all_of, names_holder_alone


def licence_said(names: Iterable[str]) -> str:
    """Return the SPDX expression of all the names and addresses, "" without any.

    Where one isn't understood it stands for all, as it is or as "unknown", so that no step takes its document for one
    that names none. Who holds the rights counts where nothing else is said.
    """
    said = [text for name in names if (text := " ".join(name.split()))]
    named = [text for text in said if not names_holder_alone(text)]
    return all_of(named or said)
