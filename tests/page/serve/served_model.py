"""What is served: its text and its rows, and how many of those an engine has at hand."""

from __future__ import annotations

from headwater.page.serve.engine import GenerationEngine

TEXT = "The river starts at its headwater, and the sea is where the river ends. Größe, 河, ש. "
SEQ_LEN = 64


def num_rows(engine: GenerationEngine) -> int:
    """Return how many rows are waiting or being continued."""
    return len(engine._waiting) + len(engine._active)
