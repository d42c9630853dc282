"""Writes the constants that ship, with how they were made and how far blind estimates were off."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from costing.fit import PRIOR, PRIOR_LOG_DEVIATION
from costing.score import Score
from headwater import files

Z90 = 1.2816


def write_constants(path: Path, fitted: dict[str, float], scores: Sequence[Score], num_rows: int, **more: Any) -> None:
    """Write `efficiencies.json`: spreads are log deviations such that P10 to P90 holds 80 % of the blind errors."""
    spread = {quantity: log_deviation(scores, quantity) for quantity in ("time", "memory", "power", "hours")}
    files.write_json(
        path,
        {
            "how": (
                f"time constants: benchmarks/cost_backtest.py --write, least squares of log step time over {num_rows} "
                f"published rows with a soft loss and log-normal priors of width {PRIOR_LOG_DEVIATION}; power_part and "
                "run_part: medians over published runs; spread: 80th "
                "percentile of blind |log error| / 1.28"
            ),
            "constants": {name: round(value, 9) for name, value in {**fitted, **more}.items()},
            "prior": PRIOR,
            "spread": spread,
        },
    )


def log_deviation(scores: Sequence[Score], quantity: str) -> float:
    errors = [abs(math.log1p(score.off)) for score in scores if score.quantity == quantity]
    return round(float(np.percentile(errors, 80)) / Z90, 4)
