"""Failures, restarts and pauses: how much of the time on a cluster goes into the result. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from headwater.errors import ConfigError

HOURS_PER_YEAR = 8766
DEVICE_FAILURES_PER_YEAR = 0.173
"Unexpected interruptions a device and year: 419 in 54 days on 16,384 H100 (arXiv:2407.21783, table 5)."


@dataclass(frozen=True)
class Pauses:
    """Seconds that training stands still: to save, to restart after a failure, to evaluate."""

    save_seconds: float = 60.0
    "What a save blocks; only the copy to the host where checkpoints are written beside training."
    restart_seconds: float = 1200.0
    "From a failure to the next step: noticing, replacing the node, loading."
    evaluation_part: float = 0.01
    "Part of the time that evaluations take."


@dataclass(frozen=True)
class Shares:
    """What a run's time goes into once it runs; the parts sum to one.

    `steps` is the goodput: steps that last. `failures` holds restarts and steps that are done again.
    """

    steps: float
    saves: float
    evaluations: float
    failures: float


@dataclass(frozen=True)
class Checkpoints:
    """How often to save, what a save takes, how long between failures, and what a run's time goes into then."""

    interval_seconds: float
    save_seconds: float
    mtbf_seconds: float
    shares: Shares


def mean_seconds_between_failures(num_devices: int) -> float:
    """Return the mean time between failures of any device: failures of devices are independent, so rates add up."""
    return HOURS_PER_YEAR * 3600 / (DEVICE_FAILURES_PER_YEAR * num_devices)


def daly_interval(save_seconds: float, mtbf_seconds: float) -> float:
    """Return the time between checkpoints that loses least (Daly 2006, equation 37).

    mtbf_seconds where saving takes twice that or more.
    """
    if save_seconds >= 2 * mtbf_seconds:
        return mtbf_seconds
    ratio = save_seconds / (2 * mtbf_seconds)
    young = math.sqrt(2 * save_seconds * mtbf_seconds)
    return young * (1 + math.sqrt(ratio) / 3 + ratio / 9) - save_seconds


def shares(num_devices: int, pauses: Pauses) -> Shares:
    """Return the parts, with checkpoints at the best interval.

    A save takes its time from each interval; a failure costs the restart and half an interval done again. Where
    failures come faster than restarts all time goes into them: such a run doesn't end.
    """
    mtbf = mean_seconds_between_failures(num_devices)
    interval = daly_interval(pauses.save_seconds, mtbf)
    saving = pauses.save_seconds / (interval + pauses.save_seconds)
    failing = min(1.0, (pauses.restart_seconds + interval / 2) / mtbf)
    lasting = (1 - failing) * (1 - pauses.evaluation_part)
    return Shares(
        steps=(1 - saving) * lasting,
        saves=saving * lasting,
        evaluations=pauses.evaluation_part,
        failures=failing * (1 - pauses.evaluation_part),
    )


def checkpoints(num_devices: int, pauses: Pauses) -> Checkpoints:
    """Return Daly's interval and what is left of the time; raise ConfigError where a run would never end."""
    mtbf, found = mean_seconds_between_failures(num_devices), shares(num_devices, pauses)
    if found.steps == 0:
        raise ConfigError(
            f"failures come faster than restarts at {num_devices:,} devices; one fails every {mtbf / 60:.2g} minutes "
            f"and a restart takes {pauses.restart_seconds / 60:.0f}, so the run would never end: take fewer devices"
        )
    return Checkpoints(daly_interval(pauses.save_seconds, mtbf), pauses.save_seconds, mtbf, found)
