"""What all searches need: lists of words, domains and the like that lie beside the code, a file each; spans."""

from __future__ import annotations

from functools import cache
from pathlib import Path

Span = tuple[int, int]  # [start, end) in characters

_DATA = Path(__file__).parent / "data"


@cache
def listed(name: str) -> dict[str, None]:
    """Return the words of a file in the folder `data`, in order; lines that begin with # are comments."""
    lines = (_DATA / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return dict.fromkeys(word for line in lines if not line.startswith("#") for word in line.split())
