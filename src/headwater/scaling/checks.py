"""What a table and its law can't carry: warnings beside the fit, and refusals in place of a best size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headwater.errors import DataError
from headwater.intervals import Z_P90
from headwater.scaling.backtest import MIN_SIZES, decades_beyond, span
from headwater.scaling.law import GREATEST_EXPONENT, LEAST_EXPONENT, Law, solve_grid
from headwater.scaling.posterior import NOISE, Posterior
from headwater.scaling.reach import Caution, no_law
from headwater.scaling.table import FloatArray, Runs, num_distinct

_LEAST_RATIO_RANGE = 4.0  # highest over lowest tokens per parameter
_WIDEST_OPTIMUM = 10.0  # high / low of the optimal size
_MOST_UNCERTAIN = 3.0  # high / low beyond which an exponent is called unidentified
_LEAST_TERM = 1e-6  # of the least loss


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


def exponents_of(posterior: Posterior) -> tuple[Exponent, Exponent]:
    """Return what the rows alone say of alpha and beta, counting runs of like size as related; no prior is in it."""
    runs, space = posterior.runs, np.geomspace(LEAST_EXPONENT, GREATEST_EXPONENT, 97)
    squares = solve_grid(runs, space, space, posterior.whitening).squares
    heights = -0.5 * len(runs) * np.log(squares + len(runs) * (1e-6 / NOISE) ** 2)  # a table's last digit
    return _exponent(space, heights.max(axis=1)), _exponent(space, heights.max(axis=0))


def _exponent(space: FloatArray, heights: FloatArray) -> Exponent:
    """Return where a profile comes down by what an 80 % interval allows, on either side of its top."""
    relative, logs = heights - heights.max(), np.log(space)
    top, drop = int(relative.argmax()), -(Z_P90**2) / 2
    below, above = np.flatnonzero(relative[:top] < drop), top + np.flatnonzero(relative[top:] < drop)
    low, high = logs[0], logs[-1]
    if len(below):
        at = slice(int(below[-1]), int(below[-1]) + 2)
        low = np.interp(drop, relative[at], logs[at])
    if len(above):
        at = slice(int(above[0]) - 1, int(above[0]) + 1)
        high = np.interp(-drop, -relative[at], logs[at])
    return Exponent(float(space[top]), float(np.exp(low)), float(np.exp(high)), bool(len(below) and len(above)))


def table_warnings(posterior: Posterior, curve: Law, both: tuple[Exponent, Exponent]) -> list[Caution]:
    """Return what a reader of the fit must know: what these rows don't show, and what was done about it."""
    runs = posterior.runs
    if absent := no_law(runs):  # from which all else would follow
        return [Caution("no_law", f"these rows carry no law, and the fit says nothing of other runs: {absent}")]
    found, ratio = _few_sizes(runs), runs.tokens / runs.params
    if ratio.max() / ratio.min() < _LEAST_RATIO_RANGE:
        says = (
            f"tokens per parameter only go from {ratio.min():.3g} to {ratio.max():.3g}: what parameters and what "
            "tokens bring can't be told apart; add runs with fewer and with more tokens for the same size"
        )
        found.append(Caution("narrow_ratio", says))
    for name, exponent in zip(("alpha", "beta"), both, strict=True):
        if not exponent.is_identified:
            reach = f"between {exponent.p10:.2g} and {exponent.p90:.2g}"
            if not exponent.is_bounded:
                reach = f"from {exponent.p10:.2g} to {exponent.p90:.2g} and further"
            says = (
                f"the rows fit nearly as well with any {name} {reach}: don't read it as a property of the data; "
                "forecasts average over what is left open"
            )
            found.append(Caution(f"unidentified_{name}", says))
    terms = {"a floor (E)": curve.E, "a term of params (A)": curve.A, "a term of tokens (B)": curve.B}
    if missing := [name for name, value in terms.items() if value < _LEAST_TERM * float(runs.loss.min())]:
        says = (
            f"the best fit has no place for {' and '.join(missing)}: the rows don't show it, and a forecast from them "
            "can't know what other runs owe to it"
        )
        found.append(Caution("missing_term", says))
    if num_odd := posterior.num_outliers:
        says = (
            f"{num_odd} of {len(runs)} runs {'lies' if num_odd == 1 else 'lie'} far off the rest, with less than half "
            "a weight in forecasts; none is excluded"
        )
        found.append(Caution("outliers", says))
    return found


def _few_sizes(runs: Runs) -> list[Caution]:
    return [
        Caution(
            f"few_{name}",
            f"the rows hold only {count} different {name}: how loss falls with {name} is taken from published laws, "
            f"not from these runs; add runs of other {name} ({MIN_SIZES} or more)",
        )
        for name, values in (("params", runs.params), ("tokens", runs.tokens))
        if (count := num_distinct(values)) < MIN_SIZES
    ]


@dataclass(frozen=True)
class Optimum:
    """The size and tokens of the least loss at a budget; the size from P10 to P90, by what the rows leave open."""

    flops: float
    params: float
    tokens: float
    loss: float
    params_p10: float
    params_p90: float


def require_optimum(runs: Runs, both: tuple[Exponent, Exponent], found: Optimum | None) -> Optimum:
    """Return the best size that was found; raise DataError where these rows can't carry one."""
    if absent := no_law(runs):
        raise DataError(absent)
    if few := _few_sizes(runs):
        raise DataError(few[0].says)
    if found is None:
        raise DataError("the rows show no optimum: one of the terms of the law vanishes")
    for name, exponent in zip(("alpha", "beta"), both, strict=True):
        if not exponent.is_bounded:
            raise DataError(f"the rows don't tell {name} (its profile likelihood is open), and the optimum hangs on it")
    rows, ratio = runs.tokens / runs.params, found.tokens / found.params
    if not rows.min() <= ratio <= rows.max():
        raise DataError(
            f"the optimum would have {ratio:.3g} tokens per parameter, outside the rows ({rows.min():.3g} to "
            f"{rows.max():.3g}): no run shows that side; add runs with {'fewer' if ratio < rows.min() else 'more'}"
        )
    if decades_beyond(runs, np.array(found.flops)) > span(runs):
        raise DataError(f"{found.flops:.3g} FLOPs lie further beyond the largest run than the rows reach")
    low, high = found.params_p10, found.params_p90
    if high / low > _WIDEST_OPTIMUM:
        raise DataError(f"the optimum could be anywhere from {low:.3g} to {high:.3g} parameters")
    return found
