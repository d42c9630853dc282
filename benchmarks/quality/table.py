"""The results of a campaign: a table to read and a value for JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

from quality.campaign import Campaign, Result, Side
from quality.crossing import compare

MEDIAN_OF = ("seconds", "build_seconds", "compile_seconds", "steps", "seconds_per_step", "peak_memory_mb")


def as_json(campaign: Campaign) -> dict[str, Any]:
    """Return {contenders: {name: runs and medians}, ratios: {baseline: headwater's time over the baseline's}}."""
    ours = campaign.ours
    contenders: dict[str, Any] = {
        ours.name: {"runs": ours.runs, "lengths": [medians(runs) for _, runs in _lengths(ours)]}
    }
    for side in campaign.baselines:
        contenders[side.name] = {
            "lr": side.job.lr,
            "dtype": side.job.dtype,
            "runs": side.runs,
            "medians": medians(side.runs),
            "screening": side.screening,
        }
    return {"contenders": contenders, "ratios": {side.name: _ratio(campaign, side) for side in campaign.baselines}}


def _ratio(campaign: Campaign, side: Side) -> dict[str, Any]:
    if not campaign.ours.runs:
        return {"ratio": None, "bound": "no run of headwater was long enough to be made", "limit": side.limit}
    if not all(math.isfinite(point.bits_per_byte) for point in side.points(True)):
        return {"ratio": None, "bound": "the baseline diverged", "limit": side.limit}
    ratio = compare(campaign.curves(True), side.points(True), side.limit)
    return ratio | {"without_compilation": compare(campaign.curves(False), side.points(False), side.limit)}


def medians(runs: Sequence[Result]) -> dict[str, Any]:
    """Return the median of each measure; a run that diverged counts as worse than all others."""
    found = {name: median(run[name] for run in runs) for name in MEDIAN_OF}
    if "fraction" in runs[0]:
        found["fraction"] = runs[0]["fraction"]
    quality = median(math.inf if run["bits_per_byte"] is None else run["bits_per_byte"] for run in runs)
    return found | {"bits_per_byte": quality if math.isfinite(quality) else None, "num_runs": len(runs)}


def _lengths(side: Side) -> list[tuple[float, list[Result]]]:
    fractions = sorted({run["fraction"] for run in side.runs})
    return [(fraction, [run for run in side.runs if run["fraction"] == fraction]) for fraction in fractions]


def as_text(campaign: Campaign) -> str:
    """Return the table: a line for each length or learning rate, then a line for each ratio."""
    head = (
        f"{'contender':<26}{'runs':>5}{'steps':>8}{'seconds':>9}{'compiling':>11}{'bits per byte':>15}  (least, most)"
    )
    lines = [head]
    for side in campaign.baselines:
        others = [run for run in side.screening if run not in side.runs]
        lines += [_line(f"{side.name}, lr {run['lr']:g}", [run]) for run in sorted(others, key=lambda run: run["lr"])]
        lines.append(_line(f"{side.name}, lr {side.job.lr:g}", side.runs))
    lines += [_line(f"{campaign.ours.name}, {fraction:.3g} of it", runs) for fraction, runs in _lengths(campaign.ours)]
    return "\n".join([*lines, "", *_ratio_lines(campaign)])


def _line(name: str, runs: list[Result]) -> str:
    found = medians(runs)
    values = [math.inf if run["bits_per_byte"] is None else run["bits_per_byte"] for run in runs]
    quality = found["bits_per_byte"]
    shown = "diverged" if quality is None else f"{quality:.4f}"
    cut = f"  {sum(run['was_cut'] for run in runs)} cut" if any(run["was_cut"] for run in runs) else ""
    return (
        f"{name:<26}{len(runs):>5}{found['steps']:>8.0f}{found['seconds']:>9.1f}{found['compile_seconds']:>11.1f}"
        f"{shown:>15}  ({min(values):.4f}, {max(values):.4f}){cut}"
    )


def _ratio_lines(campaign: Campaign) -> Iterator[str]:
    for side in campaign.baselines:
        found = _ratio(campaign, side)
        for what, part in (("compiling counted", found), ("without compiling", found.get("without_compilation"))):
            if part is not None:
                yield f"{campaign.ours.name}'s time over {side.name}'s, {what}: {_in_words(part)}"


def _in_words(ratio: dict[str, Any]) -> str:
    if ratio["ratio"] is None:
        return str(ratio["bound"])
    ends = [
        f"{how} {_interval(ratio[key])}" for how, key in (("seeds drawn again", "interval_95"), ("t", "interval_95_t"))
    ]
    verdict = "excludes" if ratio["excludes_limit"] else "doesn't exclude"
    return f"{ratio['ratio']:.3f} (95 %: {', '.join(ends)}), which {verdict} {ratio['limit']:.3g}"


def _interval(ends: list[float | None] | None) -> str:
    if ends is None:
        return "unknown"
    return " to ".join("beyond what was run" if end is None else f"{end:.3f}" for end in ends)
