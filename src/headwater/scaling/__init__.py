"""How loss falls with parameters and tokens: a law fitted to a table of runs, forecasts with intervals, best sizes.

numpy and scipy alone. `ScalingLaw` is the estimator, `read_runs` its table; `published_laws` speak where there is none,
`repetition` says what epochs cost, `design` which small runs to train.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headwater.scaling.estimator import Optimum, Prediction, ScalingLaw
    from headwater.scaling.table import Runs, read_runs

__all__ = ["Optimum", "Prediction", "Runs", "ScalingLaw", "read_runs"]


def __getattr__(name: str) -> Any:
    # on demand: a plan without a table of runs loads no law
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{'table' if 'uns' in name else 'estimator'}"), name)
