"""How many rows one forward pass has, where that is measured: the rule's number, doubled as long as that is faster.

The rule's is measured first, and a larger one is used only where it is faster by MIN_SPEEDUP: two runs of one file then
mostly have the same bits. The choice is kept in the run's checkpoints, as the machine's facts are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from headwater.core.errors import TrainingError

MIN_SPEEDUP = 1.03  # times as fast; the same size measured twice differs by up to 2 % on a machine without other work
REPEATS = 2

Work = Callable[[], None]


@dataclass(frozen=True)
class Microbatch:
    """Tokens of one forward pass on one rank, and why this number."""

    tokens: int
    why: str


def measured_microbatch(
    seconds_of: Callable[[int], float | None], may_double: Callable[[], bool], tokens: int, rule: int, seq_len: int
) -> Microbatch:
    """Return the microbatch for the `tokens` of a step on one rank; `rule` is the rule's.

    `seconds_of(n)` is what a step takes in microbatches of n rows, None where the memory can't hold one, and
    `may_double` whether it may hold twice as much as now. What doesn't fit is halved. Raises TrainingError where not
    even the smallest microbatch fits.
    """
    num_rows, size = tokens // seq_len, rule // seq_len
    found = {size: seconds_of(size)}
    while found[size] is None:
        smaller = next((rows for rows in range(size // 2, 0, -1) if num_rows % rows == 0), None)
        if smaller is None:
            raise TrainingError(
                f"the device's memory can't hold forward and backward of a microbatch of {size} row(s); set "
                "train.recompute=1, or choose a smaller model or a shorter model.seq_len"
            )
        found[size := smaller] = seconds_of(smaller)
    while size >= rule // seq_len and num_rows % (2 * size) == 0 and may_double():
        before, after = found[size], seconds_of(2 * size)
        found[2 * size] = after
        if before is None or after is None or after * MIN_SPEEDUP > before:
            break
        size *= 2
    speeds = ", ".join(
        f"{rows * seq_len} tokens: " + ("too large for the memory" if t is None else f"{tokens / t:,.0f}/s")
        for rows, t in sorted(found.items())
    )
    why = "the rule's size" if size * seq_len == rule else "the fastest measured" if size * seq_len > rule else "fits"
    return Microbatch(size * seq_len, f"{why} (forward and backward at the run's start of {speeds})")


def step_seconds(
    timed: Callable[[Work], float | None], first: Work, later: Work, num_microbatches: int
) -> float | None:
    """Return the seconds of all forward and backward passes of a step, or None where the memory can't hold them.

    `first` computes a gradient from nothing, as a step's first microbatch does, and `later` adds to one that is there.
    """
    if timed(first) is None:  # not counted: it compiles, and fills caches
        return None
    firsts = [timed(first) for _ in range(REPEATS)]
    laters = [timed(later) for _ in range(REPEATS)] if num_microbatches > 1 else [0.0]
    if None in firsts or None in laters:
        return None
    return min(filter(None, firsts)) + (num_microbatches - 1) * min(filter(None, laters), default=0.0)
