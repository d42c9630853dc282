"""Who holds a folder: asked before anything is committed below it (core.files), however deep in a call that is."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_OWNERS: dict[Path, Callable[[], None]] = {}


@contextmanager
def guarded(folder: Path, is_mine: Callable[[], None]) -> Iterator[None]:
    """Have `is_mine` called before anything is committed below a folder, inside: it raises where it isn't any more."""
    key = Path(os.path.realpath(folder))
    before = _OWNERS.get(key)
    _OWNERS[key] = is_mine
    try:
        yield
    finally:
        del _OWNERS[key]
        if before is not None:
            _OWNERS[key] = before


def require_owner(path: Path) -> None:
    """Raise LockedError where this process holds the folder in which `path` lies, and another has taken it over."""
    real = Path(os.path.realpath(path))
    for is_mine in [_OWNERS[each] for each in (real, *real.parents) if each in _OWNERS]:
        is_mine()
