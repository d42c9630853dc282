"""Tables of runs that follow the law of tests/made_ladder.py."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from made_ladder import law


def write_runs(path: Path, sizes: Iterable[tuple[float, float]], scale: float = 1.0) -> Path:
    """Write runs of these numbers of parameters and tokens, their losses times `scale`, and return the file."""
    rows = [f"{params},{tokens},{scale * law(params, tokens)}" for params, tokens in sizes]
    path.write_text("\n".join(["params,tokens,loss", *rows]) + "\n")
    return path
