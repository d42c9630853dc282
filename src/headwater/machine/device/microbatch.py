"""How many rows one forward pass has, where that is measured: the rule's number, or one of a few that is faster.

The rule's is measured first, and another is used only where it is faster by MIN_SPEEDUP: two runs of one file then
mostly have the same bits. The choice is kept in the run's checkpoints, as the machine's facts are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from headwater.core.errors import TrainingError
from headwater.machine.device.device import Device

MIN_SPEEDUP = 1.03  # times as fast; the same size measured twice differs by up to 2 % on a machine without other work
SEARCH_SECONDS = 60.0  # after which no further size is begun
REPEATS = 2

Work = Callable[[], None]
StepSeconds = dict[int, float | None]  # rows of a microbatch: seconds of a step, None where the memory can't hold it


@dataclass(frozen=True)
class Microbatch:
    """Tokens of one forward pass on one rank, and why this number."""

    tokens: int
    why: str


def measured_microbatch(
    device: Device,
    passes: Callable[[int], tuple[Work, Work]],
    may_double: Callable[[], bool],
    tokens: int,
    rule: int,
    seq_len: int,
) -> Microbatch:
    """Return the microbatch with which the `tokens` of a step on one rank take the least time; `rule` is the rule's.

    `passes(n)` returns what computes the gradient of n rows: from nothing, as a step's first microbatch does, and added
    to one that is there, as the others do. `may_double` says whether the memory may hold twice as much as now.
    Raises TrainingError when not even the smallest microbatch fits.
    """
    num_rows, start = tokens // seq_len, rule // seq_len
    deadline = time.perf_counter() + SEARCH_SECONDS

    def seconds_of_step(size: int) -> float | None:
        return step_seconds(device, *passes(size), num_rows // size)

    found = climb(num_rows, start, seconds_of_step, may_double, lambda: time.perf_counter() < deadline)
    found = confirm(found, start, seconds_of_step)
    size = choose(found, start)
    return Microbatch(size * seq_len, explain_choice(found, size, start, num_rows, seq_len))


def climb(
    num_rows: int,
    start: int,
    seconds_of_step: Callable[[int], float | None],
    may_double: Callable[[], bool],
    has_time: Callable[[], bool],
) -> StepSeconds:
    """Measure `start`, then sizes of twice the rows and more as long as each is faster; else of half and less.

    Every size divides `num_rows`. What doesn't fit is halved until something does, however long that takes.
    """
    found: StepSeconds = {start: seconds_of_step(start)}
    size = start
    while found[size] is not None and has_time() and may_double() and (larger := _larger(num_rows, size)):
        found[larger] = seconds_of_step(larger)
        if not _is_faster(found[larger], found[size]):
            break
        size = larger
    while size <= start and (found[size] is None or has_time()) and (smaller := _smaller(num_rows, size)):
        found[smaller] = seconds_of_step(smaller)
        if found[size] is not None and not _is_faster(found[smaller], found[size]):
            break
        size = smaller
    return found


def confirm(found: StepSeconds, start: int, seconds_of_step: Callable[[int], float | None]) -> StepSeconds:
    """Return what was found with `start` measured again where another size would be chosen: the better time counts.

    Other work on the machine may have slowed `start` down alone.
    """
    first = found[start]
    if first is None or choose(found, start) == start:
        return found
    again = seconds_of_step(start)
    return found | {start: first if again is None else min(first, again)}


def _larger(num_rows: int, size: int) -> int | None:
    return next((rows for rows in range(2 * size, num_rows + 1) if num_rows % rows == 0), None)


def _smaller(num_rows: int, size: int) -> int | None:
    return next((rows for rows in range(size // 2, 0, -1) if num_rows % rows == 0), None)


def _is_faster(seconds: float | None, before: float | None) -> bool:
    return seconds is not None and before is not None and before >= MIN_SPEEDUP * seconds


def choose(found: Mapping[int, float | None], start: int) -> int:
    """Return the fastest size, but `start` unless one is faster by MIN_SPEEDUP; raise TrainingError if none fits."""
    fitting = {size: seconds for size, seconds in found.items() if seconds is not None}
    if not fitting:
        raise TrainingError(
            f"the device's memory can't hold forward and backward of a microbatch of {min(found)} row(s); set "
            "train.recompute=1, or choose a smaller model or a shorter model.seq_len"
        )
    best = min(fitting, key=lambda size: fitting[size])
    return best if start not in fitting or _is_faster(fitting[best], fitting[start]) else start


def explain_choice(found: Mapping[int, float | None], size: int, start: int, num_rows: int, seq_len: int) -> str:
    """Return a sentence with the speed of every size that was measured."""
    speeds = ", ".join(
        f"{rows * seq_len} tokens: " + ("too large for the memory" if t is None else f"{num_rows * seq_len / t:,.0f}/s")
        for rows, t in sorted(found.items())
    )
    if size == start:
        reason = f"the rule's size: none measured at the run's start was {MIN_SPEEDUP - 1:.0%} faster"
    else:
        reason = "the fastest measured at the run's start"
    return f"{reason} (forward and backward of {speeds})"


def step_seconds(device: Device, first: Work, later: Work, num_microbatches: int) -> float | None:
    """Return the seconds of all forward and backward passes of a step, or None where the memory can't hold them."""
    if device.seconds_of(first) is None:  # not counted: it compiles, and fills caches
        return None
    firsts = [device.seconds_of(first) for _ in range(REPEATS)]
    laters = [device.seconds_of(later) for _ in range(REPEATS)] if num_microbatches > 1 else [0.0]
    if None in firsts or None in laters:
        return None
    return min(filter(None, firsts)) + (num_microbatches - 1) * min(filter(None, laters), default=0.0)
