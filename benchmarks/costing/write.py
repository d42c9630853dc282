"""Writes the constants that ship, with how they were made and how far blind estimates were off."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.special import ndtri

from costing.fit import PRIOR, PRIOR_LOG_DEVIATION
from costing.score import Score
from headwater import files
from headwater.intervals import LEVEL


def write_constants(path: Path, fitted: dict[str, float], scores: Sequence[Score], num_rows: int) -> None:
    """Write `efficiencies.json`; spreads are deviations of the log, by which P10 to P90 holds 80 % of blind errors."""
    spread = {quantity: log_deviation(scores, quantity) for quantity in ("time", "memory", "power")}
    runs = [abs(math.log1p(score.off)) for score in scores if score.quantity == "hours"]
    spread["hours"] = round(float(np.quantile(runs, LEVEL) / ndtri(0.9)), 4)
    files.write_json(
        path,
        {
            "how": (
                f"time constants: benchmarks/cost_backtest.py --write, least squares of log step time over {num_rows} "
                f"published rows with a soft loss and log-normal priors of width {PRIOR_LOG_DEVIATION}; "
                "spread: 80th percentile of blind |log error| / 1.28, each publication counting once, of hours each run"
            ),
            "constants": {name: round(value, 9) for name, value in fitted.items()},
            "prior": PRIOR,
            "spread": spread,
            "hours_backtest": hours_backtest(scores),
        },
    )


def hours_backtest(scores: Sequence[Score]) -> dict[str, float]:
    """Return how far hours of whole published runs came out, which `headwater plan --budget` says."""
    errors = np.abs([score.off for score in scores if score.quantity == "hours"])
    median, p90 = (round(float(np.percentile(errors, share)), 3) for share in (50, 90))
    return {"runs": len(errors), "median": median, "p90": p90}


def log_deviation(scores: Sequence[Score], quantity: str) -> float:
    """Return the deviation by the 80th percentile, each publication counting once: a plan is of none of them."""
    found = [score for score in scores if score.quantity == quantity]
    rows = Counter(publication(score) for score in found)
    errors = np.array([abs(math.log1p(score.off)) for score in found])
    weights = np.array([1 / (len(rows) * rows[publication(score)]) for score in found])
    order = np.argsort(errors)
    inside = np.cumsum(weights[order])
    return round(float(errors[order][np.searchsorted(inside, LEVEL)]) / float(ndtri(0.9)), 4)


def publication(score: Score) -> str:
    """Return whose row it is: a source names its devices after a stroke."""
    return score.source.split(" / ")[0]
