"""How loss falls with parameters and tokens: a law fitted to a table of runs, forecasts with intervals, best sizes.

numpy and scipy alone. `ScalingLaw` is the estimator, `read_runs` its table; `PublishedLaw` speaks where there is none,
`repetition` says what epochs cost, `surface` what small runs say of a large one, and which to train.
"""

from __future__ import annotations

from headwater.plan.scaling.checks import Optimum
from headwater.plan.scaling.estimator import Prediction, ScalingLaw
from headwater.plan.scaling.table import Runs, read_runs

__all__ = ["Optimum", "Prediction", "Runs", "ScalingLaw", "read_runs"]
