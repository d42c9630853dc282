"""What a table and its law can't carry: warnings beside the fit, and refusals in place of a best size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headwater.scaling.arrays import Z_P90, FloatArray
from headwater.scaling.backtest import MIN_SIZES, decades_beyond, span
from headwater.scaling.estimator import Optimum, ScalingLaw
from headwater.scaling.grid import exponents, solve_grid
from headwater.scaling.law import GREATEST_EXPONENT, LEAST_EXPONENT, Law
from headwater.scaling.posterior import NOISE
from headwater.scaling.reach import Caution, no_law
from headwater.scaling.table import Runs, num_distinct

_LEAST_RATIO_RANGE = 4.0  # highest over lowest tokens per parameter
_WIDEST_OPTIMUM = 10.0  # high / low of the optimal size
_MOST_UNCERTAIN = 3.0  # high / low beyond which an exponent is called unidentified


@dataclass(frozen=True)
class Exponent:
    """One exponent's profile likelihood: its best value and 80 % interval; no bound where it stays open at an end."""

    likeliest: float
    p10: float
    p90: float
    is_bounded: bool

    @property
    def is_identified(self) -> bool:
        return self.is_bounded and self.p90 / self.p10 <= _MOST_UNCERTAIN


def exponents_of(law: ScalingLaw) -> tuple[Exponent, Exponent]:
    """Return what the rows alone say of alpha and beta, counting runs of like size as related; no prior is in it."""
    space = exponents(LEAST_EXPONENT, GREATEST_EXPONENT, count=97)
    squares = solve_grid(law.runs, space, space, law.posterior.whitening).squares
    heights = -0.5 * len(law.runs) * np.log(squares + len(law.runs) * (1e-6 / NOISE) ** 2)  # a table's last digit
    return _exponent(space, heights.max(axis=1)), _exponent(space, heights.max(axis=0))


def _exponent(space: FloatArray, heights: FloatArray) -> Exponent:
    relative, logs = heights - heights.max(), np.log(space)
    top, drop = int(relative.argmax()), -(Z_P90**2) / 2
    below, above = np.flatnonzero(relative[:top] < drop), np.flatnonzero(relative[top:] < drop)
    ends = [0.0, len(space) - 1.0]
    if len(below):
        at = int(below[-1])
        ends[0] = float(np.interp(drop, relative[at : at + 2], [at, at + 1]))
    if len(above):
        at = top + int(above[0])
        ends[1] = float(np.interp(-drop, -relative[at - 1 : at + 1], [at - 1, at]))
    low, high = np.exp(np.interp(ends, np.arange(len(space)), logs)).tolist()
    return Exponent(float(space[top]), low, high, bool(len(below) and len(above)))


def table_warnings(law: ScalingLaw, both: tuple[Exponent, Exponent]) -> list[Caution]:
    """Return what a reader of the fit must know: what these rows don't show, and what was done about it."""
    runs = law.runs
    if absent := no_law(runs):  # from which all else would follow
        return [Caution("no_law", f"these rows carry no law, and the fit says nothing of other runs: {absent}")]
    found = [*_few_sizes(runs)]
    ratio = runs.tokens / runs.params
    if ratio.max() / ratio.min() < _LEAST_RATIO_RANGE:
        found.append(
            Caution(
                "narrow_ratio",
                f"tokens per parameter only go from {ratio.min():.3g} to {ratio.max():.3g}: what parameters and what "
                "tokens bring can't be told apart; add runs with fewer and with more tokens for the same size",
            )
        )
    for name, exponent in zip(("alpha", "beta"), both, strict=True):
        if not exponent.is_identified:
            found.append(_unidentified(name, exponent))
    if missing := _missing_terms(runs, law.curve):
        found.append(
            Caution(
                "missing_term",
                f"the best fit has no place for {' and '.join(missing)}: the rows don't show it, and a forecast from "
                "them can't know what other runs owe to it",
            )
        )
    if num_odd := law.posterior.num_outliers:
        found.append(
            Caution(
                "outliers",
                f"{num_odd} of {len(runs)} runs {'lies' if num_odd == 1 else 'lie'} far off the rest, with less than "
                "half a weight in forecasts; none is excluded",
            )
        )
    return found


def _missing_terms(runs: Runs, law: Law) -> list[str]:
    least = 1e-6 * float(runs.loss.min())
    terms = (("a floor (E)", law.E), ("a term of params (A)", law.A), ("a term of tokens (B)", law.B))
    return [name for name, value in terms if value < least]


def _few_sizes(runs: Runs) -> list[Caution]:
    found = []
    for name, values in (("params", runs.params), ("tokens", runs.tokens)):
        if (count := num_distinct(values)) < MIN_SIZES:
            found.append(
                Caution(
                    f"few_{name}",
                    f"the rows hold only {count} different {name}: how loss falls with {name} is taken from published "
                    f"laws, not from these runs; add runs of other {name} ({MIN_SIZES} or more)",
                )
            )
    return found


def _unidentified(name: str, exponent: Exponent) -> Caution:
    low, high = f"{exponent.p10:.2g}", f"{exponent.p90:.2g}"
    reach = f"between {low} and {high}" if exponent.is_bounded else f"from {low} to {high} and further"
    return Caution(
        f"unidentified_{name}",
        f"the rows fit nearly as well with any {name} {reach}: don't read it as a property of the data; "
        "forecasts average over what is left open",
    )


def optimum_refusal(runs: Runs, both: tuple[Exponent, Exponent], found: Optimum | None) -> str | None:
    """Return why these rows can't carry a compute-optimal size, or None when they can."""
    if absent := no_law(runs):
        return absent
    if few := _few_sizes(runs):
        return few[0].says
    if found is None:
        return "the rows show no optimum: one of the terms of the law vanishes"
    for name, exponent in zip(("alpha", "beta"), both, strict=True):
        if not exponent.is_bounded:
            return f"the rows don't tell {name} (its profile likelihood is open), and the optimum hangs on it"
    rows, ratio = runs.tokens / runs.params, found.tokens / found.params
    if not rows.min() <= ratio <= rows.max():
        return (
            f"the optimum would have {ratio:.3g} tokens per parameter, outside the rows ({rows.min():.3g} to "
            f"{rows.max():.3g}): no run shows that side; add runs with {'fewer' if ratio < rows.min() else 'more'}"
        )
    if decades_beyond(runs, np.array(found.flops)) > span(runs):
        return f"{found.flops:.3g} FLOPs lie further beyond the largest run than the rows reach"
    if found.params_p90 / found.params_p10 > _WIDEST_OPTIMUM:
        return f"the optimum could be anywhere from {found.params_p10:.3g} to {found.params_p90:.3g} parameters"
    return None
