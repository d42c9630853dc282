"""Tasks that hold so little that a corpus of a few documents is cut, searched and merged as a large one is."""

from __future__ import annotations

import pytest

from headwater.corpus.tasks import exact, filter, merge, near, repeats, results, runs, segments

MODULES = (exact, filter, merge, near, repeats, results, runs, segments)


def cut_into_pieces(patch: pytest.MonkeyPatch, **sizes: int) -> None:
    """Set how much is held at once, by the names of the tasks' modules, wherever a module has such a name."""
    for name, size in sizes.items():
        homes = [module for module in MODULES if hasattr(module, name)]
        assert homes, f"no task has a {name}"
        for module in homes:
            patch.setattr(module, name, size)
