"""How well the law of schedules forecasts what another schedule does to a run's last loss.

    python benchmarks/schedule_backtest.py [--json]

Published loss curves (benchmarks/data/scaling/multi_power_curves.csv): three sizes, each trained with nine schedules.
Two schedules of one size that end at the same step are a pair: given the loss of one, what is that of the other? The
law's constants are fitted again for every pair, without its size and without both of its kinds of schedule at any size,
so that no curve is predicted by constants fitted on it. The fit is to the logarithms of each curve's loss over that of
the constant rate at the same step. Every curve counts alike; a weak prior holds the constants near generic ones.

The published runs have one peak rate at every length, so the law counts their steps when it is fitted. Runs whose peak
goes with their length have no such unit: the package counts each as a run of 24,000 published steps, and so does the
score, also for the pairs of 16,000 and 72,000 steps.

`UNSURE` is the deviation of a move. "held": with the least value that would have held nine of ten pairs of the other
two sizes in their 90 % interval. "least unsure": the least value for all. The last lines are the constants fitted to
all curves, which the package holds, and headwater's own short runs (own_schedules.csv), on which nothing is fitted;
`FEW_STEPS`, the steps that a fall needs, was set with two of them in view.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from statistics import NormalDist, fmean, median
from typing import Any

import numpy as np
from scipy.optimize import least_squares

from headwater.optim.settings import ScheduleSettings
from headwater.runs.plan_loss import factors_of, in_words
from headwater.scaling.schedule import FITTED, UNSURE, MultiPower, move

DATA = Path(__file__).parent / "data" / "scaling"
WARMUP, SHARES = 2160, 500
USUAL_STEPS = 24_000  # of the length whose constants serve for every run
Z_P95 = NormalDist().inv_cdf(0.95)
POINTS = 12  # of a curve, from where its rate falls to its end
KINDS = {"constant": "constant", "cosine": "cosine", "wsd": "exponential", "wsdld": "linear", "wsdcon": "two-stage"}
ENDS = {24_000: ("constant_24000", "cosine_24000", "wsd_20000_24000", "wsdld_20000_24000")}
ENDS |= {72_000: ("constant_72000", "cosine_72000")}
ENDS |= {16_000: ("constant_24000", "wsdcon_18", "wsdcon_9", "wsdcon_3")}
START = MultiPower(progress=0.1, progress_power=0.5, noise=0.05, fading=1000.0, fading_power=0.5, rate_power=0.5)
PRIOR_WIDTH = 1.0  # of the constants' logarithms
RESIDUAL = 0.005  # of log loss: what a fit is off by, about, against which the prior weighs


@dataclass(frozen=True)
class Curve:
    """One published run: its size in millions of parameters, its schedule, and its loss by step."""

    size: int
    schedule: str
    steps: np.ndarray
    losses: np.ndarray

    @property
    def kind(self) -> str:
        return KINDS[self.schedule.split("_")[0]]

    def loss_at(self, step: float) -> float:
        return float(np.interp(step, self.steps, self.losses))


def csv_rows() -> list[dict[str, str]]:
    with (DATA / "multi_power_curves.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def curves() -> dict[tuple[int, str], Curve]:
    rows: dict[tuple[int, str], list[tuple[float, float]]] = defaultdict(list)
    for row in csv_rows():
        rows[int(row["model_m"]), row["schedule"]].append((float(row["step"]), float(row["loss"])))
    return {key: Curve(*key, *(np.array(column) for column in zip(*found))) for key, found in rows.items()}


def lr_factors(schedule: str, steps: np.ndarray) -> np.ndarray:
    """Return the published schedule's factors: all warm up over 2,160 steps, and decay to a tenth."""
    name, *numbers = schedule.split("_")
    flat = np.minimum(1.0, steps / WARMUP)
    if name == "cosine":
        done = np.clip((steps - WARMUP) / (int(numbers[0]) - WARMUP), 0, 1)
        return np.where(steps < WARMUP, flat, 0.55 + 0.45 * np.cos(math.pi * done))
    if name == "wsdcon":
        return np.where(steps < 8000, flat, int(numbers[0]) / 30)
    if name in ("wsd", "wsdld"):
        start, end = map(int, numbers)
        done = np.clip((steps - start) / (end - start), 0, 1)
        return flat * (0.1**done if name == "wsd" else 1 - 0.9 * done)
    return flat


def shares_of(schedule: str, num_steps: float) -> np.ndarray:
    """Return the factors of a run that ends at `num_steps`, in equal shares."""
    return lr_factors(schedule, (np.arange(SHARES) + 0.5) * num_steps / SHARES)


@dataclass(frozen=True)
class Facts:
    """Points of curves: factors in S shares of a run and of one at the constant rate, how their losses differed,
    weights, which of the sizes, and lengths over USUAL_STEPS."""

    factors_FS: np.ndarray
    constant_FS: np.ndarray
    log_ratios: np.ndarray
    weights: np.ndarray
    sizes: np.ndarray
    lengths: np.ndarray


def facts(found: dict[tuple[int, str], Curve], without_size: int | None, without: set[str]) -> Facts:
    """Return what may be fitted on: every curve but those of a size and of kinds of schedule, against the constant."""
    rows = []
    for curve in found.values():
        if curve.size == without_size or curve.kind in without or curve.kind == "constant":
            continue
        constant = found[curve.size, "constant_72000"]
        lowered = curve.steps[lr_factors(curve.schedule, curve.steps) < 1]
        steps = lowered[np.unique(np.linspace(0, len(lowered) - 1, POINTS).round().astype(int))]
        for step in steps:
            ratio = math.log(curve.loss_at(step) / constant.loss_at(step))
            shares = (shares_of(name, step) for name in (curve.schedule, constant.schedule))
            rows.append((*shares, ratio, 1 / math.sqrt(len(steps)), curve.size, step / USUAL_STEPS))
    return Facts(*(np.array(column) for column in zip(*rows)))


def fit(known: Facts) -> MultiPower:
    """Return the constants of the least weighted squares of log ratios, near START by a weak prior.

    What progress and noise are worth is fitted for each size; their geometric means are returned. The published runs
    have one peak rate at every length, so that there the law counts steps.
    """
    sizes, place = np.unique(known.sizes, return_inverse=True)
    worth = START.progress, START.noise
    powers = START.progress_power, START.fading, START.fading_power, START.rate_power
    start = np.log([*np.repeat(worth, len(sizes)), *powers])

    def residuals(logs: np.ndarray) -> np.ndarray:
        progress, noise = np.exp(logs[: 2 * len(sizes)]).reshape(2, -1)[:, place]
        power, fading, *rest = np.exp(logs[2 * len(sizes) :])
        progress, fading = progress * known.lengths**-power, fading * known.lengths[:, None]
        law = MultiPower(progress, power, noise, fading, *rest)
        log_ratios = np.log(law.level(known.factors_FS) / law.level(known.constant_FS))
        off = known.weights * (log_ratios - known.log_ratios)
        return np.concatenate([off / RESIDUAL, (logs - start) / PRIOR_WIDTH])

    logs = least_squares(residuals, start).x
    progress, noise = np.exp(logs[: 2 * len(sizes)].reshape(2, -1).mean(axis=1)).tolist()
    power, *rest = np.exp(logs[2 * len(sizes) :]).tolist()
    return MultiPower(progress, power, noise, *rest)


@dataclass(frozen=True)
class Scored:
    """A pair: what the second schedule's loss was over the first's, what was forecast, and a deviation at UNSURE."""

    size: int
    first: str
    second: str
    fact: float
    forecast: float
    deviation: float

    @property
    def error(self) -> float:
        return self.forecast - self.fact

    def is_held(self, unsure: float) -> bool:
        return abs(self.error) <= Z_P95 * self.deviation * unsure / UNSURE


def scored() -> list[Scored]:
    """Return every pair, forecast by constants that saw neither its size nor its kinds of schedule."""
    found, result = curves(), []
    fitted: dict[tuple[int, frozenset[str]], MultiPower] = {}
    for size in sorted({curve.size for curve in found.values()}):
        for names in ENDS.values():
            end = min(found[size, name].steps[-1] for name in names)
            for pair in combinations(names, 2):
                one, other = (found[size, name] for name in pair)
                key = size, frozenset((one.kind, other.kind))
                if key not in fitted:
                    fitted[key] = fit(facts(found, size, set(key[1])))
                shift = move(shares_of(other.schedule, end), shares_of(one.schedule, end), end, fitted[key])
                fact = math.log(other.loss_at(end) / one.loss_at(end))
                result.append(Scored(size, *pair, fact, shift.log_ratio, shift.deviation))
    return result


def least_unsure(pairs: Sequence[Scored]) -> float:
    """Return the least `UNSURE` with which nine of ten pairs lie within their 90 % interval."""
    needed = sorted(abs(pair.error) / (Z_P95 * pair.deviation / UNSURE) for pair in pairs)
    return needed[math.ceil(0.9 * len(needed)) - 1]


def coverage(pairs: Sequence[Scored]) -> float:
    """Return how many of 100 pairs are held by what the other sizes' pairs ask for."""
    held = []
    for pair in pairs:
        others = [other for other in pairs if other.size != pair.size]
        held.append(pair.is_held(least_unsure(others)))
    return 100 * fmean(held)


def own_runs() -> list[dict[str, Any]]:
    """Return headwater's own runs: mean loss of each schedule over the rules', as it was and as forecast."""
    rows: dict[tuple[Any, ...], list[float]] = defaultdict(list)
    with (DATA / "own_schedules.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            settings = {name: row[name] for name in ("name", "warmup_steps", "decay_fraction", "final_fraction")}
            key = ScheduleSettings(**settings), int(row["num_steps"])  # type: ignore[arg-type]
            rows[key].append(float(row["bits_per_byte"]))
    result, base = [], {}
    for (schedule, num_steps), losses in rows.items():
        base.setdefault(num_steps, (schedule, losses))  # the first of a length has the rules' schedule
        rule, its = base[num_steps]
        if schedule == rule:
            continue
        shift = move(factors_of(schedule, num_steps), factors_of(rule, num_steps), num_steps)
        facts_ = [math.log(loss / other) for loss, other in zip(losses, its)]
        row = {"steps": num_steps, "schedule": in_words(schedule), "seeds": len(facts_), "fact": fmean(facts_)}
        held = abs(shift.log_ratio - fmean(facts_)) <= Z_P95 * shift.deviation
        result.append(row | {"forecast": shift.log_ratio, "deviation": shift.deviation, "held": held})
    return result


def summary(pairs: Sequence[Scored]) -> dict[str, Any]:
    errors = [abs(pair.error) for pair in pairs]
    moves = [abs(pair.fact) for pair in pairs]
    return {
        "pairs": len(pairs),
        "median_error": 100 * median(errors),
        "p90_error": 100 * float(np.quantile(errors, 0.9)),
        "largest_error": 100 * max(errors),
        "median_without_the_law": 100 * median(moves),
        "p90_without_the_law": 100 * float(np.quantile(moves, 0.9)),
        "largest_without_the_law": 100 * max(moves),
        "held": coverage(pairs),
        "held_by_the_package": 100 * fmean(pair.is_held(UNSURE) for pair in pairs),
        "least_unsure": least_unsure(pairs),
    }


def show(pairs: Sequence[Scored], found: dict[str, Any]) -> None:
    print("Loss of the second schedule over the first's, %: as it was (as forecast by constants that saw neither)\n")
    sizes = sorted({pair.size for pair in pairs})
    print(f"{'first':<20}{'second':<20}" + "".join(f"{f'{size}M':>18}" for size in sizes))
    for first, second in dict.fromkeys((pair.first, pair.second) for pair in pairs):
        cells = [pair for pair in pairs if (pair.first, pair.second) == (first, second)]
        print(
            f"{first:<20}{second:<20}"
            + "".join(f"{f'{100 * c.fact:+.2f} ({100 * c.forecast:+.2f})':>18}" for c in cells)
        )
    print()
    for name, value in found["pairs"].items():
        print(f"{name.replace('_', ' '):<26}{value:.3g}")
    print("\nfitted to all curves:", {name: float(f"{value:.4g}") for name, value in found["fitted"].items()})
    print("the package holds:   ", asdict(FITTED))
    print("\nheadwater's own runs, against the rules' schedule, %")
    for row in found["own_runs"]:
        numbers = f"{100 * row['fact']:+.2f} ({100 * row['forecast']:+.2f} ± {100 * row['deviation']:.2f})"
        print(f"{row['steps']:>6} steps  {row['schedule']:<58}{row['seeds']} seeds  {numbers}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Back-test the law of schedules on published and own runs.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    pairs = scored()
    fitted = asdict(fit(facts(curves(), None, set())))
    found = {"pairs": summary(pairs), "fitted": fitted, "package": asdict(FITTED), "own_runs": own_runs()}
    if arguments.json:
        print(json.dumps(found | {"scored": [asdict(pair) for pair in pairs]}))
        return
    show(pairs, found)


if __name__ == "__main__":
    main()
