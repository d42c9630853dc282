"""headwater ladder --table CSV: the law that a table of finished runs shows, and forecasts from it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from headwater.cli.terminal import print_json, safe, say_beside
from headwater.errors import ConfigError
from headwater.report.numbers import apart, count


def fit_table(
    table: Path,
    at: list[str],
    loss_column: str,
    drop_highest: int,
    factors: tuple[float, float],
    budget: float | None,
    page: Path | None,
    as_json: bool,
) -> None:
    """Fit loss = E + A/params^alpha + B/tokens^beta, and forecast the runs of `at`, each with its interval.

    `factors` are the learning rate and the batch of those runs over the best.
    """
    if budget is not None and not 0 < budget < math.inf:
        raise ConfigError(f"--budget {budget:g} is no amount of compute; give FLOPs above zero, like 1e21")
    targets = [_target(text) for text in at]
    if not targets and factors != (1, 1):
        raise ConfigError("--lr-off and --batch-off change forecasts, and there is none; add --at PARAMS,TOKENS")
    from headwater.scaling import study
    from headwater.scaling.table import read_runs

    runs = read_runs(table, loss_column)
    done = study.study(runs.without_highest(drop_highest) if drop_highest else runs)
    result = study.law_fields(done)
    if targets:
        lr_factor, batch_factor = factors
        chosen = [replace(study.Target(*target), lr_factor=lr_factor, batch_factor=batch_factor) for target in targets]
        result["forecasts"] = [study.forecast_fields(done, target) for target in chosen]
    result["optimum"] = study.optimum_fields(done, budget)
    if page is not None:
        from headwater.report.law import write_law_page

        write_law_page(page, table.name, done, result)
        say_beside(as_json)(f"page: {page}")
    print_json(result) if as_json else _print(result)


def _target(text: str) -> list[float]:
    """Return the numbers of PARAMS,TOKENS[,EPOCHS]."""
    from headwater.forecast.budget import parse_amount

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
    from headwater.scaling.study import NOT_THE_LAW

    absent = [warning["says"] for warning in result["warnings"] if warning["code"] == "no_law"]
    if absent:
        print(safe(f"{result['num_points']} runs, no forecast: {absent[0]}"))
        return
    print(
        f"loss = {result['E']:.4f} + {result['A']:.5g} / params^{result['alpha']:.4f} "
        f"+ {result['B']:.5g} / tokens^{result['beta']:.4f}"
    )
    cuts = result["backtest"]["num_cuts"]
    print(f"{result['num_points']} runs, {cuts} cuts back-tested, {result['seconds']:.2f} s\n")
    print("exponents with related runs (P10 to P90), and of the curve, a plain Huber fit:")
    for name, found in result["exponent_intervals"].items():
        low, likeliest, high = apart(found["p10"], found["likeliest"], found["p90"])
        print(f"{name:<6} {likeliest} ({low} to {high}); curve {result[name]:.4f}")
    _print_optimum(result["optimum"])
    repetition = result["repetition"]
    if repetition["most_readings"] > 1:
        factor = math.exp(repetition["log_deviation"])
        print(
            f"runs of up to {repetition['most_readings']:.2g} epochs: the cost of repetition is taken out of the law "
            f"(strength {repetition['strength']:.2g}, known to a factor of {factor:.2g})"
        )
    repeats = any("epochs" in found for found in result.get("forecasts", []))
    if result.get("forecasts"):
        print(f"\n{'params':>10} {'tokens':>10}{' epochs' if repeats else ''} {'p10':>9} {'p50':>9} {'p90':>9}")
    for found in result.get("forecasts", []):
        sizes = f"{count(found['params']):>10} {count(found['tokens']):>10}"
        if repeats:
            sizes += f" {found.get('epochs', 1):>6g}"
        values = [found[name] for name in ("p10", "p50", "p90")]
        print(
            f"{sizes} no forecast: {found['refused']}"
            if "refused" in found
            else sizes + "".join(f" {v:9.4f}" for v in values)
        )
    if result.get("forecasts"):
        print(f"note: {NOT_THE_LAW}")
    for warning in _warnings(result):
        print(safe(f"note: {warning}"))


def _print_optimum(found: dict[str, Any]) -> None:
    place = f"best size for {found['flops']:.3g} FLOPs:"
    if "refused" in found:
        print(f"{place} no answer: {found['refused']}")
        return
    interval = f"{count(found['params_p10'])} to {count(found['params_p90'])}"
    print(f"{place} {count(found['params'])} parameters ({interval}), {count(found['tokens'])} tokens")


def _warnings(result: dict[str, Any]) -> list[str]:
    texts = [warning["says"] for warning in result["warnings"]]
    for found in result.get("forecasts", []):
        target = f"{count(found['params'])} parameters, {count(found['tokens'])} tokens"
        texts += [f"{target}: {warning['says']}" for warning in found.get("warnings", [])]
    return list(dict.fromkeys(texts))
