"""headwater without products in int8: what its utilisation of the bfloat16 peak is."""

from __future__ import annotations

from contenders.headwater import train

__all__ = ["MODES", "train"]

MODES = ("bfloat16",)
