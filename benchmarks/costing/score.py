"""How far blind estimates are off: |estimate / published - 1| by quantity and source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from costing.fit import predict_blind
from costing.llm_foundry import llm_foundry_shape
from costing.observed import DATA, Observed
from headwater.forecast.count import count_flops
from headwater.forecast.device import find_device, read_devices
from headwater.forecast.efficiency import Efficiency
from headwater.forecast.energy import mean_watts
from headwater.forecast.failures import Pauses, goodput
from headwater.forecast.memory import estimate_memory
from headwater.forecast.time import step_seconds
from headwater.tables import read_csv

GIB = 2**30


@dataclass(frozen=True)
class Score:
    """One estimate: `off` is estimate / published - 1."""

    quantity: str
    kind: str
    name: str
    off: float


def blind_times(
    rows: Sequence[Observed], by: str, whole: dict[str, float], given: Sequence[Observed] | None = None
) -> list[Score]:
    given = rows if given is None else given
    predicted = predict_blind(rows, by, whole, given)
    return [
        Score("time", row.kind, row.job.name, seconds / row.seconds - 1)
        for row, seconds in zip(given, predicted, strict=True)
        if row.seconds
    ]


def memory_scores(rows: Sequence[Observed]) -> list[Score]:
    """Score memory, of which nothing is fitted."""
    scores = []
    for row in rows:
        if row.memory_gib:
            peak = estimate_memory(row.job.shape, row.job.layout).peak / GIB
            scores.append(Score("memory", row.kind, row.job.name, peak / row.memory_gib - 1))
    return scores


def power_part(rows: Sequence[Observed]) -> float:
    """Return the median of published power over the device's limit, of runs that state energy and hours."""
    return float(np.median([row.energy_kwh / _limit_kwh(row) for row in rows if _has_power(row)]))


def energy_kwh(device_hours: float, watts: float, pue: float) -> float:
    return device_hours * watts / 1000 * pue


def _has_energy(row: Observed) -> bool:
    # C: energy that others estimated, or of more than the run; TPUs' power comes from such a row itself
    return bool(row.energy_kwh and row.grade in ("A", "B"))


def _has_power(row: Observed) -> bool:
    return bool(_has_energy(row) and row.hours)


def _limit_kwh(row: Observed) -> float:
    return energy_kwh(row.hours or 0.0, row.job.device.watts, row.job.pue or 1.0)


def _has_hours(row: Observed) -> bool:
    return bool(row.hours and row.job.tokens and row.grade in ("A", "B"))


def run_part(rows: Sequence[Observed], constants: dict[str, float]) -> float:
    """Return the median of ideal over published device-hours: what whole runs reach of a benchmark's speed."""
    return float(np.median([ideal_hours(row, constants) / row.hours for row in rows if _has_hours(row)]))


def ideal_hours(row: Observed, constants: dict[str, float]) -> float:
    layout = row.job.layout
    seconds = step_seconds(row.work, Efficiency(constants))
    device_seconds = seconds * layout.num_devices / (layout.batch_rows * row.job.shape.seq_len)
    return (row.job.tokens or 0.0) * device_seconds / 3600 / goodput(layout.num_devices, Pauses())


def blind_runs(rows: Sequence[Observed], constants: dict[str, float]) -> list[Score]:
    """Score hours, energy and power of whole runs, each with the constants of other organisations' runs.

    "energy" is that of the estimated hours; "power" that of the reported ones: the same
    without the error of the hours. Energy published without a PUE is taken for the computers' own.
    """
    runs = [row for row in rows if row.kind == "training runs"]
    scores = []
    for row in runs:
        others = [other for other in runs if other.source != row.source]
        hours = ideal_hours(row, constants) / run_part(others, constants)
        if row.hours and _has_hours(row):
            scores.append(Score("hours", row.kind, row.job.name, hours / row.hours - 1))
        if row.energy_kwh and _has_energy(row):
            watts, pue = mean_watts(row.job.device, power_part(others)), row.job.pue or 1.0
            kwh = {"energy": energy_kwh(hours, watts, pue), "power": energy_kwh(row.hours or 0.0, watts, pue)}
            scores += [
                Score(name, row.kind, row.job.name, each / row.energy_kwh - 1) for name, each in kwh.items() if each
            ]
    return scores


def flops_score() -> float:
    """Return the median |MFU from our FLOPs and its throughput / its MFU - 1| over llm-foundry's rows."""
    errors = []
    devices = read_devices()
    for row in read_csv(DATA / "mpt_throughput.csv"):
        shape = llm_foundry_shape(row["Model"], int(row["SeqLen (T)"]), "")
        peak = find_device(row["GPU"], devices).peak_flops("fp8" if "fp8" in row["Precision"] else "bf16")
        mfu = float(row["Throughput (T/s/GPU)"]) * count_flops(shape).palm / peak
        errors.append(abs(100 * mfu / float(row["MFU"]) - 1))
    return float(np.median(errors))


def summary(scores: Sequence[Score]) -> dict[str, Any]:
    """Return median, 90th percentile and worst underestimate by quantity and source, and by quantity."""
    lines = lines_by_kind(scores)
    for quantity in dict.fromkeys(score.quantity for score in scores):
        lines.append(_line(quantity, "all", [score.off for score in scores if score.quantity == quantity]))
    for file, kinds in (("parallelism_benchmarks.csv", False), ("mpt_throughput.csv", True)):
        of_file = [s.off for s in scores if s.quantity == "time" and s.kind.startswith("llm-foundry") is kinds]
        if of_file:
            lines.append(_line("time", file, of_file))
    return {"lines": lines}


def lines_by_kind(scores: Sequence[Score]) -> list[dict[str, Any]]:
    keys = dict.fromkeys((score.quantity, score.kind) for score in scores)
    return [_line(q, kind, [s.off for s in scores if (s.quantity, s.kind) == (q, kind)]) for q, kind in keys]


def _line(quantity: str, kind: str, off: Sequence[float]) -> dict[str, Any]:
    errors = np.abs(off)
    return {
        "quantity": quantity,
        "kind": kind,
        "rows": len(off),
        "median": float(np.median(errors)),
        "p90": float(np.percentile(errors, 90)),
        "worst_under": float(min(0.0, *off)) if len(off) > 1 else float(min(0.0, off[0])),
        "bias": float(np.median(off)),
    }
