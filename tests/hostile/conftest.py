"""The hostile files of benchmarks/reliability, which a test makes small."""

from __future__ import annotations

import sys
from pathlib import Path

RELIABILITY = Path(__file__).parents[2] / "benchmarks" / "reliability"
sys.path.insert(0, str(RELIABILITY))
