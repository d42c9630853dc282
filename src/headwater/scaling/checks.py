"""What the rows can't carry: warnings that stand beside a number, and refusals that stand in its place."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from headwater.scaling.arrays import Z_P90, FloatArray
from headwater.scaling.backtest import MIN_SIZES, decades_beyond, span
from headwater.scaling.estimator import Optimum, ScalingLaw
from headwater.scaling.grid import exponents, solve_grid
from headwater.scaling.law import GREATEST_EXPONENT, LEAST_EXPONENT, Law
from headwater.scaling.posterior import NOISE
from headwater.scaling.table import FLOPS_PER_PARAM_TOKEN, Runs, num_distinct

_LEAST_RATIO_RANGE = 4.0  # highest over lowest tokens per parameter
_HULL_ROOM = 2.0  # how far outside the rows a size may lie before it is called outside
_FURTHEST_SPANS = 2.0  # a target further out than this many times the decades that the rows span is refused
_ALWAYS_DECADES = 1.0  # but one this near always does
_SURE_BELOW = 0.5  # decades below the rows from which a number has a warning
_WIDEST_OPTIMUM = 10.0  # high / low of the optimal size
_MOST_UNCERTAIN = 3.0  # high / low beyond which an exponent is called unidentified
_LARGER = math.log(1.05)  # params × tokens by which a run counts as larger
_MOST_RISING = 1 / 3  # of the pairs whose losses differ by more than noise
_MOST_ROWS = 500  # of which pairs are compared


@dataclass(frozen=True)
class Caution:
    """`code` is for programs, `says` for people."""

    code: str
    says: str


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


def no_law(runs: Runs) -> str | None:
    """Return why these rows carry no law at all, or None where loss falls with size.

    In every published table, of two runs of which one has no fewer params and no fewer tokens, that one has the lower
    loss in 95 of 100 pairs or more.
    """
    noise = max(NOISE, runs.run_noise or 0.0)
    lowest, highest = float(runs.loss.min()), float(runs.loss.max())
    if highest / lowest - 1 <= noise:
        losses = f"are all {lowest:.4g}" if lowest == highest else f"only go from {lowest:.5g} to {highest:.5g}"
        return (
            f"the losses {losses}, and reruns of one run differ by {noise:.1%}: nothing here shows how loss falls with "
            "size; check the column of losses, or add runs further apart"
        )
    order = np.argsort(runs.flops, kind="stable")
    kept = order[np.linspace(0, len(order) - 1, min(len(order), _MOST_ROWS)).round().astype(int)]
    logs = [np.log(values[kept]) for values in (runs.params, runs.tokens, runs.loss)]
    more_N, more_D, change = (values[None, :] - values[:, None] for values in logs)
    change = change[(more_N >= 0) & (more_D >= 0) & (more_N + more_D > _LARGER)]
    rising, falling = int((change > 2 * noise).sum()), int((change < -2 * noise).sum())
    if rising > _MOST_RISING * (rising + falling):
        return (
            f"in {rising:,} of {rising + falling:,} pairs the larger run has the higher loss: these losses don't fall "
            "with size; check that the columns are params, tokens and loss, and that every run was trained well"
        )
    return None


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
    if law.posterior.num_outliers:
        found.append(
            Caution(
                "outliers",
                f"{law.posterior.num_outliers} of {len(runs)} runs lie far off the rest and weigh less than half in "
                "forecasts; none is excluded",
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


@dataclass(frozen=True)
class _Distance:
    """How far a run lies outside the rows in compute, params or tokens, and how much of it the rows span; decades."""

    decades: float
    span: float
    where: str
    add: str
    is_below: bool = False

    @property
    def share(self) -> float:
        """Return the part used up of what may be forecast.

        Below the rows that is a decade, however many they span: there the law rises without a ceiling, and losses
        don't go above that of guessing.
        """
        return self.decades / max(_ALWAYS_DECADES, 0.0 if self.is_below else _FURTHEST_SPANS * self.span)

    @property
    def is_unsure(self) -> bool:
        return self.decades > (min(self.span, _SURE_BELOW) if self.is_below else self.span)


def _distances(runs: Runs, params: float, tokens: float) -> list[_Distance]:
    """Return distances beyond the largest compute, and on either side of the params and tokens of the rows."""
    beyond = float(decades_beyond(runs, np.array(FLOPS_PER_PARAM_TOKEN * params * tokens)))
    found = [_Distance(beyond, span(runs), "of compute beyond the largest run", "larger runs")]
    for name, rows, wanted in (("params", runs.params, params), ("tokens", runs.tokens, tokens)):
        low, high = float(rows.min()), float(rows.max())
        is_below = wanted < low
        outside, side, more = (low / wanted, "below", "fewer") if is_below else (wanted / high, "above", "more")
        decades, reach = max(0.0, math.log10(outside)), math.log10(high / low)
        found.append(_Distance(decades, reach, f"{side} all rows in {name}", f"runs with {more} {name}", is_below))
    return found


def forecast_warnings(runs: Runs, params: float, tokens: float) -> list[Caution]:
    """Return what makes a forecast of this run less sure than its interval says: beside one, no interval is given."""
    found = []
    unsure = [distance for distance in _distances(runs, params, tokens) if distance.is_unsure]
    if unsure:
        furthest = max(unsure, key=lambda distance: distance.share)
        why = (
            "where the law rises without a ceiling, and losses don't"
            if furthest.is_below
            else f"further than the rows themselves reach ({furthest.span:.1f} decades)"
        )
        found.append(Caution("far", f"the target lies {furthest.decades:.1f} decades {furthest.where}, {why}"))
    ratio, rows = tokens / params, runs.tokens / runs.params
    if not rows.min() / _HULL_ROOM <= ratio <= rows.max() * _HULL_ROOM:
        found.append(
            Caution(
                "other_shape",
                f"the target has {ratio:.3g} tokens per parameter, the rows {rows.min():.3g} to {rows.max():.3g}",
            )
        )
    return found


def forecast_refusal(runs: Runs, params: float, tokens: float) -> str | None:
    """Return why these rows can't carry any number for this run, or None when they can."""
    if absent := no_law(runs):
        return absent
    for name, values, wanted in (("params", runs.params, params), ("tokens", runs.tokens, tokens)):
        if num_distinct(values) == 1 and not values.min() / _HULL_ROOM <= wanted <= values.max() * _HULL_ROOM:
            return f"all rows have the same {name} ({values[0]:.3g}): they don't show how loss changes with {name}"
    furthest = max(_distances(runs, params, tokens), key=lambda distance: distance.share)
    if furthest.share > 1:
        below = "; below its rows the law rises without a ceiling, so that a decade is all" if furthest.is_below else ""
        return (
            f"the target lies {furthest.decades:.1f} decades {furthest.where} and the rows span {furthest.span:.1f}: "
            f"add {furthest.add}{below}"
        )
    return None


def reach_of(log_flops: FloatArray) -> float:
    """Return the decimal log of the largest compute that rows of these logs can carry a forecast for."""
    largest, smallest = float(log_flops.max()), float(log_flops.min())
    return largest + max(_ALWAYS_DECADES, _FURTHEST_SPANS * (largest - smallest))


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
