"""What the programs of this folder print with: as those of reliability/ do."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "reliability"))

from figures import add_output_options, facts, made, markdown_table, publish
from trials import say

__all__ = ["add_output_options", "facts", "made", "markdown_table", "publish", "say"]
