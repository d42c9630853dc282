from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "train"))

from tiny_run import quick_machine  # noqa: F401 - a fixture for every test here
