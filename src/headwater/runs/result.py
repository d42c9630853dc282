"""What a run has come to."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:  # whoever takes a result for an argument reads none
    from headwater.runs.downstream import Aligned
    from headwater.runs.outcome import Outcome


@dataclass(frozen=True)
class RunResult:
    """What a run has come to.

    status          stopped: a signal ended training or alignment, saved where there was time; the same call resumes
    seconds         of this call; `trained_seconds` are those of training in all calls, without those of steps that
                    were trained again, as a process had ended before it saved them
    loss            nats per token of the last validation
    bits_per_byte   of `scored`: all held-out text; of the last validation as long as the run isn't evaluated
    evaluation      what evaluation.json holds, {} before it
    outcomes        each forecast beside what came of it
    aligned         what `[downstream]` made of it, in a folder of its own
    """

    status: Literal["finished", "stopped"]
    folder: Path
    seconds: float
    step: int = 0
    trained_seconds: float = 0.0
    loss: float | None = None
    bits_per_byte: float | None = None
    scored: str = "all held-out text"
    evaluation: dict[str, Any] = field(default_factory=dict)
    outcomes: tuple[Outcome, ...] = ()
    aligned: Aligned | None = None
