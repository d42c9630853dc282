"""What the soak's time went into, and what theory allows: Daly's model with what was measured."""

from __future__ import annotations

import math
from statistics import fmean, median, quantiles
from typing import Any

import figures
from soak_faults import KINDS


def daly_interval(save_seconds: float, mtbf_seconds: float) -> float:
    """Return the time between checkpoints that loses least (Daly 2006, equation 37).

    mtbf_seconds where saving takes twice that or more.
    """
    if save_seconds >= 2 * mtbf_seconds:
        return mtbf_seconds
    ratio = save_seconds / (2 * mtbf_seconds)
    young = math.sqrt(2 * save_seconds * mtbf_seconds)
    return young * (1 + math.sqrt(ratio) / 3 + ratio / 9) - save_seconds


def save_seconds(saves: list[list[float]]) -> float:
    """Return what a save costs: what training waits, and what is written beside it, since no core is idle."""
    return median(waited + beside for waited, beside in saves)


def beginnings_and_ends(runs: list[dict[str, Any]], faults: list[dict[str, Any]]) -> float:
    """Return the seconds before first and after last steps that the runs would have taken without faults, too: as
    many times the median of those in which no fault fell.
    """
    moments = {number: [fault["at"] for fault in faults if fault["run"] == number] for number in range(len(runs))}
    stepped = [(number, run) for number, run in enumerate(runs) if run["first_step_at"] is not None]
    ended = [(number, run) for number, run in stepped if run["is_finished"]]
    before = [
        run["first_step_at"] - run["started_at"]
        for number, run in stepped
        if not any(at < run["first_step_at"] for at in moments[number])
    ]
    after = [
        run["started_at"] + run["seconds"] - run["last_step_at"]
        for number, run in ended
        if not any(at > run["last_step_at"] for at in moments[number])
    ]
    return (len(stepped) * median(before) if before else 0.0) + (len(ended) * median(after) if after else 0.0)


def efficiency(interval: float, pause: float, restart: float, mtbf: float) -> float:
    """Return the part of the time that lasts, by Daly's complete model (2006, equation 20): steps of `interval`
    seconds between saves of `pause`; failures strike at any time, also during saves and restarts.
    """
    return interval / (mtbf * math.exp(restart / mtbf) * math.expm1((interval + pause) / mtbf))


def best_efficiency(pause: float, restart: float, mtbf: float) -> float:
    return efficiency(daly_interval(pause, mtbf), pause, restart, mtbf)


def account(found: dict[str, Any]) -> dict[str, Any]:
    """Return the shares of the time, restarts by kind and the bound, of what is known so far."""
    runs, faults = found["runs"], found["faults"]
    seconds = sum(run["seconds"] for run in runs)
    faults = [fault for fault in faults if fault["run"] < len(runs)]  # those of a run under way have no account yet
    by_kind = {kind: kind_account([fault for fault in faults if fault["kind"] == kind]) for kind in KINDS}
    restarts = restarts_of(faults)
    if not runs or len(restarts) < 2:
        return {"seconds": seconds, "by_kind": by_kind}
    lasting = sum(run["seconds_of_lasting_steps"] for run in runs)
    again = sum(run["seconds_of_all_steps"] for run in runs) - lasting
    saves = sum(run["seconds_of_saves"] for run in runs)
    ends = beginnings_and_ends(runs, faults)  # Daly's model has none
    pause, mtbf = save_seconds([save for run in runs for save in run["saves"]]), seconds / len(faults)
    interval = found["save_every"] * median(run["step_seconds"] for run in runs if run["step_seconds"])
    return {
        "seconds": seconds,
        "lasting": lasting / seconds,
        "again": again / seconds,
        "saves": saves / seconds,
        "beginnings_and_ends": ends / seconds,
        "other": 1 - (lasting + again + saves + ends) / seconds,
        "goodput": lasting / (seconds - ends),
        "pause": pause,
        "mtbf": mtbf,
        "restart_median": median(restarts),
        "restart_mean": fmean(restarts),
        "bound_at_this_interval": efficiency(interval, pause, fmean(restarts), mtbf),
        "bound": best_efficiency(pause, median(restarts), mtbf),
        "bound_by_mean": best_efficiency(pause, fmean(restarts), mtbf),
        "by_kind": by_kind,
    }


def restarts_of(faults: list[dict[str, Any]]) -> list[float]:
    """Return the seconds from a fault to the next step's end, of those that no other fault came between."""
    whole = [fault["step_again_after"] for fault in faults if not fault["overlapped"]]
    return [seconds for seconds in whole if seconds is not None]


def kind_account(faults: list[dict[str, Any]]) -> dict[str, Any]:
    restarts = restarts_of(faults)
    lost = [f["steps_lost"] for f in faults if not f["overlapped"] and f["steps_lost"] is not None]
    found = [f["detected_after"] for f in faults if f["detected_after"] is not None and not f["overlapped"]]
    return {
        "faults": len(faults),
        "counted": len(restarts),
        "restart_median": median(restarts) if restarts else None,
        "restart_p90": quantiles(restarts, n=10)[-1] if len(restarts) > 1 else None,
        "steps_lost_mean": fmean(lost) if lost else None,
        "detected_median": median(found) if found else None,
        "waited_median": median(f["waited"] for f in faults) if faults else None,
    }


def section(found: dict[str, Any]) -> str:
    """Return the page's section."""
    got, runs = found["account"], found["runs"]
    finished = [run for run in runs if run["is_finished"]]
    counts = [
        found["interventions"],
        len(finished),
        sum(run["is_equal"] for run in finished),
        sum(run["faults"] for run in runs),
        sum(run["put_aside"] for run in runs),
        sum(run["calls"] for run in runs),
        sum(run["attempts"] for run in runs),
    ]
    header = ["manual interventions", "runs finished", "bitwise equal", "faults", "checkpoints put aside"]
    rows = [_row(kind, one) for kind, one in got["by_kind"].items() if one["faults"]]
    names = ["fault", "number", "to the next step (s): median", "90th percentile", "steps repeated: mean"]
    parts = [
        "## Two hours of faults",
        f"First-light on 2 ranks of one thread under torchrun, {found['steps']} steps a run, run after run for "
        f"{got['seconds']:,.0f} s, faults by a Poisson process, six kinds equally likely. A supervisor repeats the "
        "same command whenever it ends and does nothing else.",
        figures.markdown_table([*header, "calls", "attempts"], [counts]),
        figures.markdown_table(names, rows),
    ]
    if "goodput" in got:
        parts += [_time(got, found), figures.made(found)]
    return "\n\n".join(parts)


def _row(kind: str, one: dict[str, Any]) -> list[Any]:
    shown = [one["restart_median"], one["restart_p90"], one["steps_lost_mean"]]
    return [kind, one["faults"], *("-" if value is None else f"{value:.1f}" for value in shown)]


def _time(got: dict[str, Any], found: dict[str, Any]) -> str:
    hang = got["by_kind"]["hang"]["detected_median"]
    noticed = "" if hang is None else f" A stopped rank is noticed after {hang:.1f} s (median)."
    return (
        f"Goodput (time of the steps that were kept): {got['lasting']:.1%} of all time, "
        f"{got['goodput']:.1%} without starting and finishing, which runs without faults have as well "
        f"({got['beginnings_and_ends']:.1%}). Repeated steps {got['again']:.1%}, waiting for saves "
        f"{got['saves']:.1%}, the rest restarts. Daly's model, a save every {found['save_every']} steps costing "
        f"{got['pause']:.2f} s, a fault every {got['mtbf']:.0f} s, allows {got['bound']:.1%} at the median restart of "
        f"{got['restart_median']:.1f} s, {got['bound_by_mean']:.1%} at the mean of {got['restart_mean']:.1f} s."
        f"{noticed}"
    )
