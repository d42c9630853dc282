"""Which steps are skipped: their loss or gradient is NaN or infinite, or far above those of the steps before. No torch.

A step is compared with the last updates, by median and median absolute deviation: one bad value among them changes
little, where a mean and its deviation would let the next one pass. Gradient norms are compared by their
logarithms: they change by factors. What a window holds is finite, always, and in every checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from headwater.train.settings import TrainSettings

SIGMAS_OF_MAD = 1.4826  # the standard deviation of a normal distribution over its median absolute deviation
MIN_LOSS_SPREAD = 0.01  # of the median, or nats: among losses that are almost alike, not every step is an outlier
# of the logarithm: norms have a long tail, up to 4.8 medians in runs without trouble
# (docs/log.md, 2026-11-26, Faults done to runs)
MIN_NORM_SPREAD = 0.4
MIN_FILLED = 0.5  # of the window, before anything is compared with it: a run begins with losses of its own kind


def not_finite(loss: float, grad_norm: float) -> str | None:
    """Return why a step without a finite loss and gradient is skipped, or None."""
    if math.isfinite(loss) and math.isfinite(grad_norm):
        return None
    return f"loss {loss:.4g} or gradient norm {grad_norm:.4g} is not finite"


def loss_limit(losses: Sequence[float], sigmas: float) -> float:
    """Return the largest loss that is no outlier after `losses`."""
    middle, deviation = _spread(losses)
    return middle + sigmas * max(SIGMAS_OF_MAD * deviation, MIN_LOSS_SPREAD * max(1.0, abs(middle)))


def norm_limit(norms: Sequence[float], sigmas: float) -> float:
    """Return the largest gradient norm that is no outlier after `norms`."""
    middle, deviation = _spread([math.log(max(norm, 1e-30)) for norm in norms])
    return math.exp(min(700.0, middle + sigmas * max(SIGMAS_OF_MAD * deviation, MIN_NORM_SPREAD)))


def _spread(values: Sequence[float]) -> tuple[float, float]:
    middle = median(values)
    return middle, median(abs(value - middle) for value in values)


class Guard:
    """The losses and gradient norms of the last updates, and the rows of the steps that were skipped."""

    def __init__(self, train: TrainSettings, rows_per_step: int, state: Mapping[str, Any] | None = None) -> None:
        """Begin with nothing, or with the `state` that a checkpoint holds."""
        state = state or {}
        self._train, self._rows_per_step = train, rows_per_step
        self._stage: int | None = state.get("stage")
        self._losses: list[float] = list(state.get("losses", []))
        self._norms: list[float] = list(state.get("grad_norms", []))
        self._bad_rows: list[int] = list(state.get("bad_rows", []))

    def state(self) -> dict[str, Any]:
        """Return all of it, for a checkpoint."""
        return {
            "stage": self._stage,
            "losses": list(self._losses),
            "grad_norms": list(self._norms),
            "bad_rows": list(self._bad_rows),
        }

    def enter(self, stage: int) -> None:
        """Forget losses and norms when a stage of other text begins: harder text is no outlier."""
        if stage != self._stage:
            self._stage, self._losses, self._norms = stage, [], []

    def judge(self, loss: float, grad_norm: float) -> str | None:
        """Return why a step of this loss and gradient is skipped, or None."""
        sigmas, num_known = self._train.guard_sigmas, len(self._losses)
        bad = not_finite(loss, grad_norm)
        if bad is not None or sigmas is None or num_known < MIN_FILLED * self._train.guard_window:
            return bad
        found = [
            ("loss", loss, loss_limit(self._losses, sigmas), self._losses),
            ("gradient norm", grad_norm, norm_limit(self._norms, sigmas), self._norms),
        ]
        for name, value, limit, before in found:
            if value > limit:
                return (
                    f"{name} {value:.4g} is above {limit:.4g}, the limit by the last {num_known} steps (median "
                    f"{median(before):.4g}, train.guard_sigmas={sigmas:g})"
                )
        return None

    def note_taken(self, first_row: int, loss: float, grad_norm: float) -> None:
        self._losses = [*self._losses, loss][-self._train.guard_window :]
        self._norms = [*self._norms, grad_norm][-self._train.guard_window :]
        self._forget_rows_before(first_row)

    def note_skipped(self, first_row: int) -> None:
        self._bad_rows.append(first_row)
        self._forget_rows_before(first_row)

    def note_rollback(self) -> None:
        """Count from 0 again after the run went back; the window is that of the checkpoint it went back to."""
        self._bad_rows = []

    def _forget_rows_before(self, row: int) -> None:
        steps = max(self._train.guard_window, self._train.max_bad_steps)
        self._bad_rows = [bad for bad in self._bad_rows if row - bad < steps * self._rows_per_step]

    @property
    def trouble_row(self) -> int | None:
        """The first row of the oldest of the last steps that was skipped; None where none was."""
        return self._bad_rows[0] if self._bad_rows else None

    @property
    def num_bad(self) -> int:
        """How many of the last steps were skipped."""
        return len(self._bad_rows)

    @property
    def must_go_back(self) -> bool:
        return len(self._bad_rows) >= self._train.max_bad_steps
