"""headwater ladder --table CSV: the law that a table of finished runs shows, and forecasts from it."""

from __future__ import annotations

import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from headwater.cli.amounts import parse_amount
from headwater.cli.terminal import print_json, say, table
from headwater.core.errors import ConfigError, DataError
from headwater.core.intervals import LEVEL
from headwater.core.numbers import apart, count
from headwater.plan.scaling import ScalingLaw, read_runs
from headwater.plan.scaling.checks import table_warnings
from headwater.plan.scaling.repetition import penalty
from headwater.plan.scaling.table import most_epochs_of, num_distinct


def fit_table(path: Path, at: list[str], loss_column: str, budget: float | None, as_json: bool) -> None:
    """Fit loss = E + A/params^alpha + B/tokens^beta, and forecast the runs of `at`, each with its interval."""
    if budget is not None and not 0 < budget < math.inf:
        raise ConfigError(f"--budget {budget:g}: give FLOPs above zero, like 1e21")
    targets = [_target(text) for text in at]
    started_at = time.perf_counter()
    runs = read_runs(path, loss_column)
    if num_distinct(runs.params) == 1 and num_distinct(runs.tokens) == 1:
        raise ConfigError("all runs have the same params and tokens; the law needs runs of several sizes: add some")
    # under load two threads wait for each other, spinning: a fit of 0.2 s took 10
    with threadpool_limits(limits=1, user_api="blas"):
        law = ScalingLaw(runs)
        result = _law_fields(law, time.perf_counter() - started_at)
        if targets:
            result["forecasts"] = [_forecast_fields(law, *target) for target in targets]
        result["optimum"] = _optimum_fields(law, budget)
    print_json(result) if as_json else _print(result)


def _law_fields(law: ScalingLaw, seconds: float) -> dict[str, Any]:
    """Return the curve, what the rows say of its exponents when runs of like size count as related, and warnings."""
    intervals = {
        name: {"p10": found.p10, "p90": found.p90, "identified": found.is_identified, "likeliest": found.likeliest}
        for name, found in zip(("alpha", "beta"), law.exponents, strict=True)
    }
    return {
        **{name: getattr(law.curve, name) for name in ("A", "B", "E", "alpha", "beta")},
        "num_points": len(law.runs),
        "seconds": seconds,
        "objective": law.curve.objective,
        "repetition": {
            "strength": law.strength.median,
            "log_deviation": law.strength.log_deviation,
            "max_epochs": most_epochs_of(law.table),
        },
        "exponent_intervals": intervals,
        "interval_levels": {"p10_p90": LEVEL},
        "backtest": {"num_cuts": len(law.past), "widening": law.widening},
        "warnings": [asdict(warning) for warning in table_warnings(law.posterior, law.exponents)],
    }


def _forecast_fields(law: ScalingLaw, params: float, tokens: float, epochs: float = 1.0) -> dict[str, Any]:
    """Return P10, P50 and P90 of a run's loss, and the curve's; None where the rows can't carry them."""
    unique = tokens / max(1.0, epochs)
    fields: dict[str, Any] = {"params": params, "tokens": tokens}
    rise = law.likeliest_strength * float(penalty(np.array(params), np.array(tokens), unique))  # as in the curve
    if epochs > 1:
        fields |= {"epochs": epochs, "repetition_costs": rise}
    try:
        found = law.predict(params, tokens, unique_tokens=unique)  # at LEVEL, from P10 to P90
    except DataError as refused:
        return {**fields, **dict.fromkeys(("p10", "p50", "p90")), "refused": str(refused)}
    warnings = [asdict(warning) for warning in law.warnings(params, tokens)]
    curve = float(law.curve.loss(np.array(params), np.array(tokens))) * (1 + rise)
    band = {"p10": float(found.low[0]), "p50": float(found.median[0]), "p90": float(found.high[0])}
    return {**fields, **band, "curve": curve, "warnings": warnings}


def _optimum_fields(law: ScalingLaw, flops: float | None) -> dict[str, Any]:
    """Return the compute-optimal size at a budget (by default that of the largest run), or `refused` and why."""
    budget = float(law.runs.flops.max()) if flops is None else flops
    try:
        return asdict(law.optimum(budget))
    except DataError as refused:
        return {"flops": budget, "refused": str(refused)}


def _target(text: str) -> list[float]:
    """Return the numbers of PARAMS,TOKENS[,EPOCHS]."""
    parts = text.split(",")
    try:
        numbers = [parse_amount("--at", part, noun) for part, noun in zip(parts, ("parameters", "tokens", "epochs"))]
    except ConfigError:
        numbers = []
    if len(numbers) != len(parts) or len(parts) < 2:
        raise ConfigError(
            f"--at {text}: give params and tokens, and epochs if they aren't 1, above zero and with commas, like "
            "70e9,1.4e12 or 70B,1.4T,4"
        )
    return numbers


def _print(result: dict[str, Any]) -> None:
    absent = [warning["says"] for warning in result["warnings"] if warning["code"] == "no_law"]
    if absent:
        say(f"{result['num_points']} runs, no forecast: {absent[0]}")
        return
    print(
        f"plain Huber fit, the baseline: loss = {result['E']:.4f} + {result['A']:.5g} / params^{result['alpha']:.4f} "
        f"+ {result['B']:.5g} / tokens^{result['beta']:.4f}"
    )
    cuts = result["backtest"]["num_cuts"]
    print(f"{result['num_points']} runs, {cuts} cuts back-tested, {result['seconds']:.2f} s\n")
    print("exponents where runs of like size count as related (P10 to P90):")
    for name, found in result["exponent_intervals"].items():
        low, likeliest, high = apart(found["p10"], found["likeliest"], found["p90"])
        print(f"{name:<6} {likeliest} ({low} to {high})")
    _print_optimum(result["optimum"])
    repetition = result["repetition"]
    if repetition["max_epochs"] > 1:
        factor = math.exp(repetition["log_deviation"])
        print(
            f"runs of up to {repetition['max_epochs']:.2g} epochs: the cost of repetition is taken out of the law "
            f"(strength {repetition['strength']:.2g}, known to a factor of {factor:.2g})"
        )
    if result.get("forecasts"):
        _print_forecasts(result["forecasts"])
    for warning in _warnings(result):
        say(f"note: {warning}")


def _print_forecasts(forecasts: list[dict[str, Any]]) -> None:
    losses = ("p10", "p50", "p90", "curve")
    rows = [["params", "tokens", "epochs", *losses]]
    for found in forecasts:
        shown = ("–" if "refused" in found else f"{found[name]:.4f}" for name in losses)
        rows.append([count(found["params"]), count(found["tokens"]), f"{found.get('epochs', 1):g}", *shown])
    print()
    table(rows, "")
    print(
        "note: p50 is not the curve of the law: it averages over exponents that the runs leave open, and follows "
        "nearby runs"
    )


def _sizes(found: dict[str, Any]) -> str:
    return f"{count(found['params'])} parameters, {count(found['tokens'])} tokens"


def _print_optimum(found: dict[str, Any]) -> None:
    place = f"best size for {found['flops']:.3g} FLOPs:"
    if "refused" in found:
        print(f"{place} no answer: {found['refused']}")
        return
    print(f"{place} {_sizes(found)} (parameters {count(found['params_p10'])} to {count(found['params_p90'])})")


def _warnings(result: dict[str, Any]) -> list[str]:
    texts = [warning["says"] for warning in result["warnings"]]
    for found in result.get("forecasts", []):
        if "refused" in found:
            texts.append(f"{_sizes(found)}: no forecast: {found['refused']}")
        texts += [f"{_sizes(found)}: {warning['says']}" for warning in found.get("warnings", [])]
    return list(dict.fromkeys(texts))
