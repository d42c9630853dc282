"""Documents in; texts, columns and decisions out: each document kept or dropped with a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headwater.corpus.measures.measure import Column, Measure

__all__ = ["Column", "Measure"]


def __getattr__(name: str) -> Any:
    """Return what a measure of one's own is made of, which is loaded only then."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from headwater.corpus.measures import measure

    return getattr(measure, name)
