"""How far off a plan's hours, energy and power on GPUs are on published whole runs.

    python benchmarks/cost_backtest.py [--rows] [--json]

benchmarks/data/training_runs.csv has the runs, each with its source; a grade of C is of what others estimated, or of
more than the run, and isn't scored. "energy" is that of the estimated hours, "power" that of the reported ones.
Energy published without a PUE is taken for the computers' own. `plan/forecast/device.py` holds what comes out.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from headwater.core.intervals import LEVEL, Z_P90
from headwater.core.tables import CsvRow, number, read_csv
from headwater.plan.forecast.device import find_device, read_devices

DATA = Path(__file__).parent / "data" / "training_runs.csv"


class Score(NamedTuple):
    """`off` is estimate / published - 1; `source` is who published the run."""

    source: str
    name: str
    off: float


def scores(rows: list[CsvRow]) -> dict[str, list[Score]]:
    """Return hours, energy and power beside what was published."""
    found, devices = defaultdict[str, list[Score]](list), read_devices()
    for row in rows:
        if row["grade"] not in ("A", "B"):
            continue
        device, name = find_device(row["hardware"], devices), row["model"]
        tokens, reported, mwh, pue, *params = (
            number(row, column, where=name)
            for column in ("tokens", "accel_hours", "energy_MWh", "pue", "params_active", "params_total")
        )
        size = next(filter(None, params), None) or _params_of_shape(row)
        hours = (tokens or 0.0) * device.seconds_per_token(size) / 3600
        kilowatts, source = device.watts / 1000 * (pue or 1.0), row["org"]
        if hours and reported:
            found["hours"].append(Score(source, name, hours / reported - 1))
        if mwh and hours:
            found["energy"].append(Score(source, name, hours * kilowatts / mwh / 1000 - 1))
        if mwh and reported:
            found["power"].append(Score(source, name, reported * kilowatts / mwh / 1000 - 1))
    return found


def _params_of_shape(row: CsvRow) -> float:
    """Return the parameters of a row that says its sizes alone: an MLP without gate, four times as wide; no ties."""
    layers, width, vocab = (int(row[column]) for column in ("n_layers", "d_model", "vocab"))
    return width * (12 * layers * width + 2 * vocab)


def deviation(found: list[Score], *, by_source: bool) -> float:
    """Return the deviation of the logarithm by which P10 to P90 hold 80 % of the errors.

    Each run counts once or, `by_source`, each publisher.
    """
    errors, runs = np.array([abs(math.log1p(score.off)) for score in found]), Counter(score.source for score in found)
    if not by_source:
        return float(np.quantile(errors, LEVEL)) / Z_P90
    weights, order = np.array([1 / (len(runs) * runs[score.source]) for score in found]), np.argsort(errors)
    return float(errors[order][np.searchsorted(np.cumsum(weights[order]), LEVEL)]) / Z_P90


def summary(found: list[Score]) -> dict[str, float]:
    errors = np.abs([score.off for score in found])
    return {"rows": len(found), "median": float(np.median(errors)), "p90": float(np.percentile(errors, 90))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", action="store_true", help="print every run")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    options, found = parser.parse_args(), scores(read_csv(DATA))
    lines = {
        name: summary(each) | {"deviation": deviation(each, by_source=name != "hours")} for name, each in found.items()
    }
    for name, line in lines.items():
        for score in found[name] if options.rows else ():
            print(f"{name:<7} {score.name:<32} {score.off:+7.1%}")
        print(
            f"{name:<7} {line['rows']:>3} rows, median {line['median']:.1%}, P90 {line['p90']:.1%} off, "
            f"deviation of the logarithm {line['deviation']:.4f}"
        )
    if options.json:
        print(json.dumps(lines))


if __name__ == "__main__":
    main()
