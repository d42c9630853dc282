"""A run file becomes a run: `load_run` reads one, `run` brings all its stages up to date."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    # on demand: reading a run file loads nothing of what builds a corpus or trains
    if name == "load_run":
        from headwater.runs.run_config import load_run

        return load_run
    if name == "run":
        from headwater.runs.running import run

        return run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
