"""How well the forecaster of loss does on published runs beyond those it has seen, and how honest its intervals are.

    python benchmarks/law_backtest.py [--json]

Each table of benchmarks/data/scaling is cut at every quarter of a decade of compute: runs up to the cut are fitted, runs up
to two decades beyond are forecast. A cut counts when at least 8 runs of 3 sizes and 3 token counts are fitted; a target
counts when it has 1 to 1000 tokens per parameter and lies no further beyond than the fitted runs span. Every row of the
files is used, those that the sources call outliers too.

What a family may not know of itself: its own larger runs, and its own law in the prior over exponents. The forecaster's
other constants (`Departure`, the prior's widths, FLOOR, PER_DECADE) are one set for all tables. They were chosen on the
other families: each family's figures with the set that does best on the rest are in docs/decisions/0012.

Which loss: chinchilla, llama3 and steplaw as published (steplaw: the smoothed loss of the best run of each size); gadre: C4
validation loss, which all its three training sets have; olmo: its four validation losses (C4, Pile, Dolma, WikiText), each
a table, reruns averaged; porian: its five configurations, each a table. The loss of llama3 is digitised.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from headwater.plan.law.backtest import origins
from headwater.plan.law.forecast import NORMAL_95, Forecaster
from headwater.plan.law.prior import published_prior
from headwater.plan.law.table import Runs, runs_of

DATA = Path(__file__).parent / "data" / "scaling"
BINS = [(0.0, 0.5, 0.5), (0.5, 1.0, 1.0), (1.0, 2.0, 2.0)]  # decades beyond from, to; target of the median error in %
Row = dict[str, str]


def read(name: str) -> list[Row]:
    with (DATA / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def table(rows: list[Row], params: str, tokens: str, loss: str) -> Runs:
    """Return the runs of these columns, reruns of one size averaged."""
    groups: dict[tuple[float, float], list[float]] = defaultdict(list)
    for row in rows:
        groups[float(row[params]), float(row[tokens])].append(float(row[loss]))
    sizes = list(groups)
    return runs_of([n for n, _ in sizes], [d for _, d in sizes], [float(np.mean(groups[size])) for size in sizes])


def tables() -> Iterator[tuple[str, str, Runs]]:
    """Yield (family, table, runs)."""
    chinchilla = read("chinchilla_approach3_svg")
    yield "chinchilla", "massivetext", table(chinchilla, "N", "D_tokens_C_over_6N", "loss")
    isoflop = read("isoflop")
    for experiment in ("llama_3__raw_loss", "comma__llama_2", "dclm__llama_2", "nemotron__llama_2"):
        rows = [row for row in isoflop if row["experiment"].endswith(experiment)]
        yield ("llama3" if "raw" in experiment else "marin"), experiment, table(rows, "params", "tokens", "loss")
    yield from parts("porian", read("porian_isoflop"), "config", ("N", "D_tokens", "loss"))
    gadre = read("gadre_overtraining")
    yield from parts("gadre", gadre, "dataset", ("N", "D", "loss_c4_val_shard_0000000_0000010_tar"))
    for metric in ("c4_loss", "pile_loss", "dolma_cc_loss", "wikitext103_loss"):
        yield "olmo", metric, table(read("olmo_ladder"), "N", "D_tokens_reported", metric)
    yield "steplaw", "dense", table(read("steplaw_dense_best_per_ND"), "N", "D", "smooth loss")


def parts(family: str, rows: list[Row], by: str, columns: tuple[str, str, str]) -> Iterator[tuple[str, str, Runs]]:
    for part in sorted({row[by] for row in rows}):
        yield family, part, table([row for row in rows if row[by] == part], *columns)


def errors() -> list[dict[str, Any]]:
    """Return one entry a forecast: family, table, decades beyond, error of log loss, whether the interval held it."""
    found = []
    for family, name, runs in tables():
        for cut in origins(runs):
            medians, deviations = Forecaster(cut.fitted, published_prior(without=family)).spread(
                cut.beyond.params, cut.beyond.tokens
            )
            off = np.log(medians / cut.beyond.loss)
            for decades, error, deviation in zip(cut.decades, off, deviations):
                held = bool(abs(error) <= NORMAL_95 * deviation)
                entry = {"family": family, "table": name, "num_fitted": len(cut.fitted), "decades": float(decades)}
                found.append(entry | {"error": float(error), "deviation": float(deviation), "held": held})
    return found


def summary(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one line a family and one for all: medians of |error| in % by decades beyond, and coverage in %."""
    lines = []
    for family in [*sorted({entry["family"] for entry in found}), "all"]:
        chosen = [entry for entry in found if family in (entry["family"], "all")]
        line: dict[str, Any] = {"family": family, "num_forecasts": len(chosen), "coverage": percent(chosen, "held")}
        for low, high, target in BINS:
            here = [entry for entry in chosen if low < entry["decades"] <= high]
            line[f"median_{high:g}"] = median_error(here)
            line[f"upto_{high:g}"] = median_error([entry for entry in chosen if entry["decades"] <= high])
            line[f"coverage_{high:g}"] = percent(here, "held")
            line[f"num_{high:g}"], line[f"target_{high:g}"] = len(here), target
        lines.append(line)
    return lines


def median_error(entries: list[dict[str, Any]]) -> float | None:
    return round(100 * float(np.median([abs(entry["error"]) for entry in entries])), 3) if entries else None


def percent(entries: list[dict[str, Any]], name: str) -> float | None:
    return round(100 * sum(entry[name] for entry in entries) / len(entries), 1) if entries else None


def show(lines: list[dict[str, Any]]) -> None:
    print("Median error of forecast loss in %, by decades of compute beyond the largest fitted run (* misses its target),")
    print("and how many of the 90 % intervals held the loss. 'up to' counts all nearer targets too.\n")
    head = "".join(f"{f'{low:g}-{high:g}':>9} {'up to':>7} {'held':>5}" for low, high, _ in BINS)
    print(f"{'family':<12}{'forecasts':>9} {'held':>6}   {head}")
    for line in lines:
        cells = []
        for _, high, target in BINS:
            value, upto, held = (line[f"{name}_{high:g}"] for name in ("median", "upto", "coverage"))
            mark = "*" if value is not None and value > target else " "
            cells.append(f"{'-' if value is None else f'{value:.2f}'}{mark}".rjust(10))
            cells.append(f"{'-' if upto is None else f'{upto:.2f}'}".rjust(7))
            cells.append(f"{'-' if held is None else f'{held:.0f}'}".rjust(6))
        print(f"{line['family']:<12}{line['num_forecasts']:>9} {line['coverage']:>6.1f}  {''.join(cells)}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Back-test the forecaster of loss on published runs.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    lines = summary(errors())
    print(json.dumps({"families": lines})) if arguments.json else show(lines)


if __name__ == "__main__":
    main()
