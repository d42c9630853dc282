"""How far blind estimates are off, |estimate / published - 1|, beside what a simple rule says of the same row.

The rules: 40 % of the peak at the layout's precision for a step, 40 % of the bf16 peak by 6 N D for a whole run,
16 bytes a parameter over all devices that share the state for memory, the power limit × 0.9 for energy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from costing.fit import predict_blind
from costing.llm_foundry import llm_foundry_shape
from costing.observed import DATA, Observed
from headwater.forecast.device import find_device, read_devices
from headwater.forecast.efficiency import Efficiency
from headwater.forecast.failures import Pauses, shares
from headwater.forecast.memory import estimate_memory
from headwater.forecast.time import USUAL_UTILISATION, run_seconds_per_token, step_seconds
from headwater.tables import read_csv

GIB = 2**30
BASELINE_POWER = 0.9
BASELINE_BYTES = 16
"A parameter: bf16 weights and gradients, and fp32 weights with two moments."


@dataclass(frozen=True)
class Score:
    """One estimate: `off` is estimate / published - 1, `baseline_off` that of the simple rule.

    `source` is who published the row.
    """

    quantity: str
    source: str
    kind: str
    name: str
    off: float
    baseline_off: float


def blind_times(
    rows: Sequence[Observed], by: str, whole: dict[str, float], given: Sequence[Observed] | None = None
) -> list[Score]:
    given = rows if given is None else given
    predicted = predict_blind(rows, by, whole, given)
    return [
        Score(
            "time",
            row.source,
            row.kind,
            row.job.name,
            seconds / row.seconds - 1,
            usual_step_seconds(row) / row.seconds - 1,
        )
        for row, seconds in zip(given, predicted, strict=True)
        if row.seconds
    ]


def usual_step_seconds(row: Observed) -> float:
    """Return the time of a step at 40 % of the peak."""
    job, layout = row.job, row.job.layout
    flops = job.shape.palm_flops_per_token * layout.batch_rows * job.shape.seq_len
    peak = job.device.peak_flops(layout.precision.split("-")[0])
    return flops / (USUAL_UTILISATION * peak * layout.num_devices)


def memory_scores(rows: Sequence[Observed]) -> list[Score]:
    """Score memory, of which nothing is fitted. A pipeline counts as a kind of its own."""
    scores = []
    for row in rows:
        if row.memory_gib:
            shape, layout = row.job.shape, row.job.layout
            peak = estimate_memory(shape, layout).peak / GIB
            usual = BASELINE_BYTES * shape.num_params / layout.num_devices / GIB
            kind = row.kind + (" pipelines" if layout.pipeline > 1 else "")
            off, baseline_off = peak / row.memory_gib - 1, usual / row.memory_gib - 1
            scores.append(Score("memory", row.source, kind, row.job.name, off, baseline_off))
    return scores


def _has_energy(row: Observed) -> bool:
    # C: energy that others estimated, or of more than the run; TPUs' power comes from such a row itself
    return bool(row.energy_kwh and row.grade in ("A", "B"))


def _has_hours(row: Observed) -> bool:
    return bool(row.hours and row.job.tokens and row.grade in ("A", "B"))


def run_hours(row: Observed, constants: dict[str, float]) -> float:
    """Return device-hours of a whole run, as `headwater plan --budget` counts them."""
    layout, shape, device = row.job.layout, row.job.shape, row.job.device
    step = step_seconds(row.work, Efficiency(constants)) / (layout.batch_rows * shape.seq_len)
    lasting = shares(layout.num_devices, Pauses()).steps
    seconds = run_seconds_per_token(shape.num_params, device, layout.num_devices, step / lasting)
    return (row.job.tokens or 0.0) * seconds * layout.num_devices / 3600


def usual_hours(row: Observed) -> float:
    """Return device-hours of a whole run at 40 % of the bf16 peak."""
    flops = 6 * row.job.shape.num_params * (row.job.tokens or 0.0)
    return flops / (USUAL_UTILISATION * row.job.device.bf16_flops) / 3600


def run_scores(rows: Sequence[Observed], constants: dict[str, float]) -> list[Score]:
    """Score hours, energy and power of whole runs.

    "energy" is that of the estimated hours; "power" that of the reported ones: the same without the error of the
    hours. Energy published without a PUE is taken for the computers' own.
    """
    scores = []
    for row in (row for row in rows if row.kind == "training runs"):
        hours, usual = run_hours(row, constants), usual_hours(row)
        if row.hours and _has_hours(row):
            scores.append(
                Score("hours", row.source, row.kind, row.job.name, hours / row.hours - 1, usual / row.hours - 1)
            )
        if row.energy_kwh and _has_energy(row):
            an_hour = row.job.device.watts / 1000 * (row.job.pue or 1.0) / row.energy_kwh
            usual_an_hour = BASELINE_POWER * row.job.device.watts / 1000 * (row.job.pue or 1.0) / row.energy_kwh
            scores.append(
                Score("energy", row.source, row.kind, row.job.name, an_hour * hours - 1, usual_an_hour * usual - 1)
            )
            if row.hours:
                offs = an_hour * row.hours - 1, usual_an_hour * row.hours - 1
                scores.append(Score("power", row.source, row.kind, row.job.name, *offs))
    return scores


def flops_score() -> float:
    """Return the median |MFU from our FLOPs and its throughput / its MFU - 1| over llm-foundry's rows."""
    errors = []
    devices = read_devices()
    for row in read_csv(DATA / "mpt_throughput.csv"):
        shape = llm_foundry_shape(row["Model"], int(row["SeqLen (T)"]), "")
        peak = find_device(row["GPU"], devices).peak_flops("fp8" if "fp8" in row["Precision"] else "bf16")
        mfu = float(row["Throughput (T/s/GPU)"]) * shape.palm_flops_per_token / peak
        errors.append(abs(100 * mfu / float(row["MFU"]) - 1))
    return float(np.median(errors))


def summary(scores: Sequence[Score]) -> list[dict[str, Any]]:
    """Return median, 90th percentile and worst underestimate by quantity and source, and by quantity."""
    lines = lines_by_kind(scores)
    for quantity in dict.fromkeys(score.quantity for score in scores):
        lines.append(_line(quantity, "all", [score for score in scores if score.quantity == quantity]))
    for file, is_llm_foundry in (("parallelism_benchmarks.csv", False), ("mpt_throughput.csv", True)):
        of_file = [s for s in scores if s.quantity == "time" and s.kind.startswith("llm-foundry") is is_llm_foundry]
        if of_file:
            lines.append(_line("time", file, of_file))
    return lines


def lines_by_kind(scores: Sequence[Score]) -> list[dict[str, Any]]:
    keys = dict.fromkeys((score.quantity, score.kind) for score in scores)
    return [_line(*key, [score for score in scores if (score.quantity, score.kind) == key]) for key in keys]


def _line(quantity: str, kind: str, scores: Sequence[Score]) -> dict[str, Any]:
    off = [score.off for score in scores]
    errors, of_rule = np.abs(off), np.abs([score.baseline_off for score in scores])
    return {
        "quantity": quantity,
        "kind": kind,
        "rows": len(off),
        "median": float(np.median(errors)),
        "p90": float(np.percentile(errors, 90)),
        "worst_under": float(min(0.0, *off)) if len(off) > 1 else float(min(0.0, off[0])),
        "bias": float(np.median(off)),
        "baseline_median": float(np.median(of_rule)),
        "baseline_p90": float(np.percentile(of_rule, 90)),
    }
