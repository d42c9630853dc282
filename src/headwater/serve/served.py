"""What a server shows: handed to each of its parts, which make routes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headwater.serve.engine import Engine


@dataclass(frozen=True)
class Served:
    """What there is to show: a folder of runs, an engine where a model answers, and what finds a step's documents."""

    runs: Path
    engine: Engine | None = None
    documents: Callable[[Path, int], Any] | None = None
