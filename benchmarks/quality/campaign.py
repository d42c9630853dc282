"""Which runs are made, in which order: the baselines' best settings, then every seed of every side in turn."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean, median
from typing import Any

from headwater.errors import ConfigError
from quality.crossing import Point, crossing_seconds
from quality.job import Job
from quality.workers import Workers

GRACE = 1.1  # a run that is slower than planned may take this much longer before it is cut
SAME_LENGTH = 0.9  # a first run with fewer of the last one's steps is no comparison, and is made again
MIN_STEPS = 4
PROBE_STEPS = 1000  # what a probe's schedule is planned for; it never gets so far
MAX_PROBE_SECONDS = 20.0
STEP_BEYOND = 2.0  # the next learning rate to try when the best one is at an edge
MAX_BEYOND = 2
FARTHER = 1.5  # the next length to try when a baseline's quality lies outside of those that were run

Result = dict[str, Any]


@dataclass
class Side:
    """A contender in the campaign: the job it starts from, what may be chosen, and the runs so far."""

    name: str
    job: Job
    dtypes: Sequence[str]
    lrs: Sequence[float] = (1.0,)
    limit: float = math.inf  # of headwater's time over this baseline's
    runs: list[Result] = field(default_factory=list)
    screening: list[Result] = field(default_factory=list)
    probes: list[Result] = field(default_factory=list)

    def steps_in(self, seconds: float) -> int:
        """Return the steps that fit in `seconds`, start included, at the speed of the latest runs."""
        latest = (self.screening + self.runs)[-3:] or self.probes[-1:]
        start = median(run["build_seconds"] + run["compile_seconds"] for run in latest)
        return max(0, int((seconds - start) / median(run["seconds_per_step"] for run in latest)))

    def points(self, with_compilation: bool) -> list[Point]:
        return [point_of(run, with_compilation) for run in self.runs]


def point_of(run: Result, with_compilation: bool = True) -> Point:
    quality = run["bits_per_byte"]
    seconds = run["seconds"] - (0 if with_compilation else run["compile_seconds"])
    return Point(seconds, math.inf if quality is None else quality)


class Campaign:
    """Makes all runs; `ours.runs` and each baseline's `runs` hold the results."""

    def __init__(
        self, workers: Workers, ours: Side, baselines: Sequence[Side], minutes: float, say: Callable[[str], None]
    ) -> None:
        self._workers = workers
        self.ours = ours
        self.baselines = baselines
        self._seconds = 60 * minutes
        self._say = say

    def run(self, num_seeds: int, fractions: Sequence[float], max_extensions: int) -> None:
        for side in self.baselines:
            self._choose_dtype(side)
            self._screen(side)
        self._choose_dtype(self.ours)
        for seed in range(1, num_seeds + 1):
            for side in self.baselines:
                if seed > 1:  # the screening was of seed 1
                    side.runs.append(self._run(replace(side.job, seed=seed), side, self._seconds))
            for fraction in fractions:
                self._run_ours(seed, fraction)
        self._extend(num_seeds, max_extensions)

    def _choose_dtype(self, side: Side) -> None:
        """Measure the speed in every dtype and keep the fastest."""
        probe_seconds = min(MAX_PROBE_SECONDS, self._seconds / 10)
        for dtype in side.dtypes:
            probe = replace(side.job, dtype=dtype, num_steps=PROBE_STEPS, probe_seconds=probe_seconds, max_seconds=0.0)
            side.probes.append(self._workers.run(probe))
        side.probes.sort(key=lambda probe: -probe["seconds_per_step"])
        side.job = replace(side.job, dtype=side.probes[-1]["dtype"])
        fastest = side.probes[-1]
        self._say(f"  {side.name}: {fastest['dtype']}, {1000 * fastest['seconds_per_step']:.1f} ms a step")

    def _screen(self, side: Side) -> None:
        """Run every learning rate at full length with seed 1, try others beyond a best edge, keep the best."""
        for lr in side.lrs:
            self._screen_one(side, lr)
        first, last = side.screening[0], side.screening[-1]
        if first["steps"] < SAME_LENGTH * last["steps"]:  # a short probe, beside other work, may have been slow
            side.screening.remove(first)
            self._screen_one(side, first["lr"])
        for _ in range(MAX_BEYOND if len(side.lrs) > 1 else 0):
            tried = sorted(run["lr"] for run in side.screening)
            best = self._best(side)["lr"]
            if best not in (tried[0], tried[-1]):
                break
            self._screen_one(side, best * STEP_BEYOND if best == tried[-1] else best / STEP_BEYOND)
        best_run = self._best(side)
        side.job = replace(side.job, lr=best_run["lr"])
        side.runs.append(best_run)
        self._say(f"  {side.name}: best of {len(side.screening)} learning rates (or scales): {best_run['lr']:g}")

    def _screen_one(self, side: Side, lr: float) -> None:
        side.screening.append(self._run(replace(side.job, lr=lr, seed=1), side, self._seconds))

    def _best(self, side: Side) -> Result:
        return min(side.screening, key=lambda run: point_of(run).bits_per_byte)

    def _run(self, job: Job, side: Side, seconds: float) -> Result:
        num_steps = side.steps_in(seconds)
        if num_steps < MIN_STEPS:
            raise ConfigError(
                f"{seconds:.1f} s are too few for {side.name}: building and compiling leave room for {num_steps} steps "
                f"and at least {MIN_STEPS} are needed; give more --minutes, or --compile off"
            )
        result = self._workers.run(replace(job, num_steps=num_steps, max_seconds=GRACE * seconds))
        quality = result["bits_per_byte"]
        shown = "diverged" if quality is None else f"{quality:.4f} bits per byte"
        self._say(f"  {result['steps']} steps, {result['seconds']:.1f} s: {shown}")
        return result

    def _run_ours(self, seed: int, fraction: float) -> None:
        try:
            result = self._run(replace(self.ours.job, seed=seed), self.ours, fraction * self._seconds)
        except ConfigError as error:
            self._say(f"  skipped: {error}")
            return
        self.ours.runs.append(result | {"fraction": fraction})

    def _extend(self, num_seeds: int, max_extensions: int) -> None:
        """Add shorter or longer runs while a baseline's quality isn't between two lengths of every seed."""
        for _ in range(max_extensions):
            fractions = [run["fraction"] for run in self.ours.runs]
            if not fractions:
                return
            crossings = [
                crossing_seconds(curve, fmean(point.bits_per_byte for point in side.points(True)))
                for side in self.baselines
                for curve in self.curves(True)
            ]
            more = [max(fractions) * FARTHER] if math.inf in crossings else []
            more += [min(fractions) / FARTHER] if 0.0 in crossings else []
            if not more:
                return
            for fraction in more:
                for seed in range(1, num_seeds + 1):
                    self._run_ours(seed, fraction)

    def curves(self, with_compilation: bool) -> list[list[Point]]:
        """Return headwater's runs, a list for each seed."""
        by_seed: dict[int, list[Point]] = {}
        for run in self.ours.runs:
            by_seed.setdefault(run["seed"], []).append(point_of(run, with_compilation))
        return list(by_seed.values())
