"""How near ladders come to their runs: of six rungs each, beside what a stranger would take instead.

    python benchmarks/ladders.py

benchmarks/data/scaling/rungs.csv has runs (`role` run) with the rungs that `headwater ladder` chose for them (rung) and
others trained to see the surface (grid): headwater's own, with the settings of docs/log.md's entry of 2026-11-30. The
priors of scaling/surface.py were chosen on the grids; the recipe code was first scored afterwards.

"surface" is the package's forecast, "law" that of ScalingLaw on the same rungs, "fit" the law of the least Huber loss,
"rung" the loss of the best rung. "held" is how many of the package's 80 % intervals held the loss.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np

from headwater.errors import DataError
from headwater.intervals import Z_P90
from headwater.scaling import ScalingLaw
from headwater.scaling.repetition import OWN, penalty
from headwater.scaling.surface import Surface
from headwater.scaling.table import Runs

DATA = Path(__file__).parent / "data" / "scaling" / "rungs.csv"
COLUMNS = ("matmul_params", "params", "tokens", "epochs", "bits_per_byte")


def read() -> dict[tuple[str, str], dict[str, np.ndarray]]:
    """Return {(recipe, seed): columns of its rungs, and of the run last}."""
    found: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
    with DATA.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["role"] != "grid":
                found[row["recipe"], row["seed"]].append(row)
    ladders = {}
    for key, rows in found.items():
        rows.sort(key=lambda row: row["role"] == "run")
        ladders[key] = {name: np.array([float(row[name]) for row in rows]) for name in COLUMNS}
    return ladders


def errors(ladder: dict[str, np.ndarray]) -> dict[str, float]:
    """Return the errors of the log loss, and whether the interval held it."""
    sizes, params, tokens, epochs, bits = (ladder[name] for name in COLUMNS)
    median, deviation = Surface(sizes, tokens, penalty(params, tokens, tokens / epochs)).forecast(bits[:-1])
    rungs = Runs(sizes[:-1], tokens[:-1], bits[:-1], unique=tokens[:-1] / epochs[:-1])
    law = ScalingLaw(rungs, OWN)
    try:
        by_law = float(law.predict(sizes[-1], tokens[-1], unique_tokens=tokens[-1] / epochs[-1]).median[0])
    except DataError:
        by_law = np.nan
    fit = float(law.curve.loss(sizes[-1:], tokens[-1:])[0])
    found = {"surface": median, "law": by_law, "fit": fit, "rung": float(bits[:-1].min())}
    off = {name: 100 * float(np.log(value / bits[-1])) for name, value in found.items()}
    return off | {"held": 100.0 * (abs(np.log(median / bits[-1])) <= Z_P90 * deviation), "width": 100 * deviation}


def main() -> None:
    scored: dict[str, list[dict[str, float]]] = defaultdict(list)
    for (recipe, seed), ladder in read().items():
        if len(ladder["tokens"]) > 1:
            scored[recipe].append(found := errors(ladder))
            print(f"{recipe:12} {seed:>3}  " + "  ".join(f"{name} {value:+6.2f}" for name, value in found.items()))
    print(f"\n{'error, %':12} ladders   mean (its standard error), root mean square")
    for recipe, found in scored.items():
        for name in ("surface", "law", "fit", "rung"):
            off = np.array([each[name] for each in found])
            off = off[~np.isnan(off)]
            error = off.std(ddof=1) / np.sqrt(len(off)) if len(off) > 1 else np.nan
            print(
                f"{recipe:12} {name:8} {len(off):3}   {off.mean():+.2f} ({error:.2f}), {np.sqrt((off**2).mean()):.2f}"
            )
        print(f"{recipe:12} 80 % intervals held {np.mean([each['held'] for each in found]):.0f} in 100")


if __name__ == "__main__":
    main()
