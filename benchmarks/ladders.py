"""How near ladders come to their runs: of six rungs each, beside what a stranger would take instead.

    python benchmarks/ladders.py

benchmarks/data/scaling/rungs.csv has runs (`role` run) with the rungs that `headwater ladder` chose for them (rung) and
others trained to see the surface (grid): headwater's own, with the settings of docs/log.md's entry of 2026-11-30, by
source and of "all" text. The priors of `plan.scaling.surface` were chosen on the grids and the first ladders (the log
says which).

"surface" is the package's forecast, source by source; "whole" the same of all text at once; "law" that of ScalingLaw on
the same rungs, "fit" the law of the least Huber loss, "rung" the loss of the best rung. "held" is how many of the
package's 80 % intervals held the loss.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np

from headwater.core.errors import DataError
from headwater.core.intervals import Z_P90
from headwater.plan.scaling import ScalingLaw
from headwater.plan.scaling.repetition import OWN, penalty
from headwater.plan.scaling.surface import Surface
from headwater.plan.scaling.table import Runs

DATA = Path(__file__).parent / "data" / "scaling" / "rungs.csv"
Ladder = dict[str, list[dict[str, float]]]  # by source: rungs, and the run last


def read() -> dict[tuple[str, str], Ladder]:
    """Return ladders by recipe and seed."""
    found: dict[tuple[str, str], Ladder] = defaultdict(lambda: defaultdict(list))
    with DATA.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["role"] != "grid"]
    for row in sorted(rows, key=lambda row: row["role"] == "run"):
        numbers = {name: float(value) for name, value in row.items() if name not in ("recipe", "role", "source")}
        found[row["recipe"], row["seed"]][row["source"]].append(numbers)
    return {key: ladder for key, ladder in found.items() if len(ladder["all"]) > 1}


def errors(ladder: Ladder) -> dict[str, float]:
    """Return the errors of the log loss, and whether the interval held it."""
    names = "matmul_params", "params", "tokens", "epochs", "bits_per_byte"
    sizes, params, tokens, epochs, bits = (np.array([row[name] for row in ladder["all"]]) for name in names)
    surface = Surface(sizes, tokens, penalty(params, tokens, tokens / epochs))
    whole, deviation = surface.forecast(bits[:-1])
    parts = [rows for source, rows in ladder.items() if source != "all"]
    weights = [rows[-1]["held_out_bytes"] for rows in parts]
    medians = [surface.forecast([row["bits_per_byte"] for row in rows[:-1]])[0] for rows in parts]
    median = float(np.average(medians, weights=weights))
    law = ScalingLaw(Runs(sizes[:-1], tokens[:-1], bits[:-1], unique=tokens[:-1] / epochs[:-1]), OWN)
    try:
        by_law = float(law.predict(sizes[-1], tokens[-1], unique_tokens=tokens[-1] / epochs[-1]).median[0])
    except DataError:
        by_law = np.nan
    fit = float(law.curve.loss(sizes[-1:], tokens[-1:])[0])
    found = {"surface": median, "whole": whole, "law": by_law, "fit": fit, "rung": float(bits[:-1].min())}
    off = {name: 100 * float(np.log(value / bits[-1])) for name, value in found.items()}
    return off | {"held": 100.0 * (abs(np.log(median / bits[-1])) <= Z_P90 * deviation), "width": 100 * deviation}


def main() -> None:
    scored: dict[str, list[dict[str, float]]] = defaultdict(list)
    for (recipe, seed), ladder in read().items():
        scored[recipe].append(found := errors(ladder))
        print(f"{recipe:12} {seed:>3}  " + "  ".join(f"{name} {value:+6.2f}" for name, value in found.items()))
    print(f"\n{'error, %':12} ladders   mean (its standard error), root mean square")
    for recipe, found in scored.items():
        for name in ("surface", "whole", "law", "fit", "rung"):
            off = np.array([each[name] for each in found])
            off = off[~np.isnan(off)]
            error = off.std(ddof=1) / np.sqrt(len(off)) if len(off) > 1 else np.nan
            print(
                f"{recipe:12} {name:8} {len(off):3}   {off.mean():+.2f} ({error:.2f}), {np.sqrt((off**2).mean()):.2f}"
            )
        print(f"{recipe:12} 80 % intervals held {np.mean([each['held'] for each in found]):.0f} in 100")


if __name__ == "__main__":
    main()
