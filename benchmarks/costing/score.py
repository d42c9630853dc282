"""How far blind estimates are off, |estimate / published - 1|, beside what a simple rule says of the same row.

The rules: 40 % of the peak at the layout's precision for a step, 16 bytes a parameter over all devices that share the
state for memory, the power limit × 0.9 for energy. Hours of a whole run are by such a rule: 40 % of the bf16 peak.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtri

from costing.device import read_devices
from costing.fit import predict_blind
from costing.llm_foundry import llm_foundry_shape
from costing.memory import estimate_memory
from costing.observed import DATA, Observed, ObservedRun
from costing.step_time import pipeline_bubble
from headwater.core.intervals import LEVEL
from headwater.core.tables import read_csv
from headwater.plan.forecast.device import USUAL_UTILISATION, find_device

GIB = 2**30
BASELINE_POWER = 0.9
RUN_KIND = "training runs"
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


def waiting_scores(rows: Sequence[Observed]) -> list[Score]:
    """Score steps of pipelines by the rule of whole runs, times the waiting of 1F1B; beside it the rule alone."""
    scores = []
    for row in rows:
        job, layout = row.job, row.job.layout
        if layout.pipeline > 1 and row.seconds:
            tokens, sizes = layout.batch_rows * job.shape.seq_len, (layout.num_devices, layout.forward_again)
            off = tokens * job.device.seconds_per_token(job.shape.num_params, *sizes) / row.seconds
            waiting = off * (1 + pipeline_bubble(layout)) - 1
            scores.append(Score("waiting", row.source, "pipelines by the rule", job.name, waiting, off - 1))
    return scores


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


def run_scores(runs: Sequence[ObservedRun]) -> list[Score]:
    """Score hours, energy and power of whole runs, by what `headwater plan` counts for a run on GPUs.

    The rule of the hours is itself the simple one: nothing finer beat it. "energy" is that of the estimated hours;
    "power" that of the reported ones: the same without the error of the hours. Energy published without a PUE is taken
    for the computers' own. Grade C is energy that others estimated, or of more than the run.
    """
    scores = []
    for row in (row for row in runs if row.grade in ("A", "B")):
        run, hours = row.run, run_hours(row)
        if row.hours and hours:
            off = hours / row.hours - 1
            scores.append(Score("hours", row.source, RUN_KIND, run.name, off, off))
        if row.energy_kwh and (hours or row.hours):
            share = run.device.watts / 1000 * (run.pue or 1.0) / row.energy_kwh
            for quantity, of in (("energy", hours), ("power", row.hours)):
                if of:
                    offs = share * of - 1, BASELINE_POWER * share * of - 1
                    scores.append(Score(quantity, row.source, RUN_KIND, run.name, *offs))
    return scores


def run_hours(row: ObservedRun) -> float:
    """Return device-hours of a whole run by the rule."""
    return (row.run.tokens or 0.0) * row.run.device.seconds_per_token(row.run.params) / 3600


def spreads(scores: Sequence[Score]) -> dict[str, float]:
    """Return the deviations in `headwater.plan.forecast.device`, by which P10 to P90 holds 80 % of blind errors.

    Each publication counts once, as a plan is of none of them; of hours each run does.
    """
    hours = [abs(math.log1p(score.off)) for score in scores if score.quantity == "hours"]
    found = {quantity: log_deviation(scores, quantity) for quantity in ("memory", "power")}
    return found | {"hours": round(float(np.quantile(hours, LEVEL) / ndtri(0.9)), 4)}


def log_deviation(scores: Sequence[Score], quantity: str) -> float:
    """Return the deviation by the 80th percentile, each publication counting once."""
    found = [score for score in scores if score.quantity == quantity]
    rows = Counter(publication(score) for score in found)
    errors = np.array([abs(math.log1p(score.off)) for score in found])
    weights = np.array([1 / (len(rows) * rows[publication(score)]) for score in found])
    order = np.argsort(errors)
    inside = np.cumsum(weights[order])
    return round(float(errors[order][np.searchsorted(inside, LEVEL)]) / float(ndtri(0.9)), 4)


def publication(score: Score) -> str:
    """Return whose row it is: a source names its devices after a stroke."""
    return score.source.split(" / ")[0]


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
