"""At one shape: find each contender's best mode, then run the best modes in turn."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from intervals import ratio_interval
from job import ContenderMissing, Job
from workers import Steps, WorkerFailed, Workers

SCREENING_SECONDS = 1.5
MAX_SLOWDOWN = 1.3  # a mode whose second step takes more than this times the best mode's is dropped

Say = Callable[[str], None]


@dataclass(frozen=True)
class Effort:
    """How long to measure: `num_rounds` rounds of at least `round_steps` steps and `round_seconds` for each."""

    num_rounds: int = 7
    round_steps: int = 3
    round_seconds: float = 2.0


@dataclass
class Finding:
    """What is known of one contender at one shape."""

    name: str
    status: str = "ok"  # or why there is nothing to compare
    job: Job | None = None  # in its best mode
    modes: dict[str, float | str] = field(default_factory=dict)  # milliseconds a step, or why the mode is out
    model: dict[str, Any] = field(default_factory=dict)
    screened: Steps | None = None
    losses: list[float] = field(default_factory=list)
    rounds: list[Steps] = field(default_factory=list)

    @property
    def round_seconds(self) -> list[float]:
        return [steps.median_seconds for steps in self.rounds]


def choose_mode(name: str, job: Job, modes: tuple[str, ...], workers: Workers, say: Say) -> Finding:
    """Try each mode for a few steps; leave the worker of the best one alive, warm, and no other."""
    finding, best_seconds = Finding(name), math.inf
    for mode in modes:
        candidate = replace(job, mode=mode)
        try:
            model, warmup = workers.start(candidate)
            steps = screen(candidate, warmup, best_seconds, workers)
        except ContenderMissing as error:
            finding.status = f"missing: {error}"
            return finding
        except WorkerFailed as error:
            finding.modes[mode] = str(error)
            say(f"  {name} {mode}: {error}")
            continue
        seconds = steps.median_seconds
        finding.modes[mode] = round(1000 * seconds, 2)
        say(f"  {name} {mode}: {1000 * seconds:.1f} ms a step")
        if seconds < best_seconds:
            if finding.job is not None:
                workers.end(finding.job)
            best_seconds, finding.job, finding.model, finding.screened = seconds, candidate, model, steps
            finding.losses = warmup.losses + steps.losses
        else:
            workers.end(candidate)
    if finding.job is None:
        finding.status = "failed: " + "; ".join(f"{mode}: {why}" for mode, why in finding.modes.items())
    return finding


def screen(job: Job, warmup: Steps, best_seconds: float, workers: Workers) -> Steps:
    """Return a few steps of a warm worker, or its last step where that exceeds MAX_SLOWDOWN times `best_seconds`."""
    second = warmup.seconds[-1]
    if second > MAX_SLOWDOWN * best_seconds:
        return Steps([second], warmup.losses[-1:], warmup.measures[-1:], warmup.peak_rss_bytes)
    return workers.run(job, max(3, math.ceil(min(SCREENING_SECONDS / second, 50))))


def run_rounds(findings: list[Finding], effort: Effort, workers: Workers, say: Say) -> None:
    """Measure the best modes in turn, in another order each round, so that no one always follows the same other."""
    running = [finding for finding in findings if finding.status == "ok"]
    for number in range(effort.num_rounds):
        order = running.copy()
        random.Random(number).shuffle(order)
        for finding in order:
            if not run_round(finding, effort, workers):
                running.remove(finding)
        times = ", ".join(f"{finding.name} {1000 * finding.round_seconds[-1]:.1f}" for finding in running)
        say(f"  round {number + 1} of {effort.num_rounds}, ms a step: {times}")


def run_round(finding: Finding, effort: Effort, workers: Workers) -> bool:
    """Add a round to the finding and return True; return False when the contender fails."""
    assert finding.job is not None and finding.screened is not None
    wanted = math.ceil(effort.round_seconds / finding.screened.median_seconds)
    try:
        finding.rounds.append(workers.run(finding.job, max(effort.round_steps, wanted)))
    except (WorkerFailed, ContenderMissing) as error:
        finding.status = f"failed: {error}"
        return False
    return True


def summarise(finding: Finding) -> dict[str, Any]:
    """Return the medians over rounds; only {"status", "modes"} where there is nothing to compare."""
    if finding.status != "ok" or finding.job is None:
        return {"status": finding.status, "modes": finding.modes}
    seconds = statistics.median(finding.round_seconds)
    tokens_per_second = finding.job.shape.batch_tokens / seconds
    last_losses = finding.rounds[-1].losses
    first, last = finding.losses[0], statistics.fmean(last_losses)
    all_losses = finding.losses + [loss for steps in finding.rounds for loss in steps.losses]
    measures = [measures for steps in finding.rounds for measures in steps.measures]
    values: dict[str, list[float]] = {}  # without those that a busy machine left open: None
    for name, value in (item for taken in measures for item in taken.items() if item[1] is not None):
        values.setdefault(name, []).append(value)
    return {
        "status": "ok",
        "mode": finding.job.mode,
        "modes": finding.modes,
        "parameters": finding.model["parameters"],
        "flops_per_token": finding.model["flops_per_token"],
        "tokens_per_second": round(tokens_per_second, 1),
        "ms_per_step": round(1000 * seconds, 3),
        "model_flops_per_second": tokens_per_second * finding.model["flops_per_token"],
        "peak_rss_bytes": max(steps.peak_rss_bytes for steps in finding.rounds),
        "first_loss": round(first, 4),
        "last_loss": round(last, 4),
        "learns": last < first and all(map(math.isfinite, all_losses)),
        "rounds_ms_per_step": [round(1000 * value, 3) for value in finding.round_seconds],
    } | {name: round(statistics.median(taken), 5) for name, taken in sorted(values.items())}


def compare(findings: list[Finding]) -> dict[str, dict[str, float]]:
    """Return {peer: {ratio, low, high}}: how many times the peer's tokens per second headwater's are."""
    by_name = {finding.name: finding for finding in findings if finding.status == "ok" and finding.rounds}
    mine = by_name.pop("headwater", None)
    if mine is None:
        return {}
    return {name: ratio_interval(mine.round_seconds, theirs.round_seconds) for name, theirs in by_name.items()}
