"""What alignment and an examination came to, as the terminal shows it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from headwater.cli.terminal import estimated, say, table

if TYPE_CHECKING:
    from headwater.core.intervals import Estimate
    from headwater.downstream.rl import RlResult
    from headwater.runs.downstream import Aligned, Stages


def print_aligned(found: Aligned) -> None:
    """Print what `[downstream]` of a run file made."""
    print_rewards(found.rewards, found.folder)
    say("what each stage changed:")
    print_stages(found.stages)
    say(f"talk to it: `headwater chat --run {found.folder}`; for other programs: `headwater export {found.folder}`")


def print_rewards(result: RlResult, run_dir: Path) -> None:
    before, after = result.before, result.after
    say(f"reward on {before.mean.num} held-out prompts: {estimated(before.mean)} before, {estimated(after.mean)} after")
    say(f"gain {estimated(result.gain)}; KL to the start {estimated(result.kl_to_start)} nats an answer")
    say(f"prompts with a right answer: {estimated(before.passed)} before, {estimated(after.passed)} after")
    say(f"{run_dir} has the new model")


def print_stages(found: Stages) -> None:
    rows = [["", *(stage.run[:24] for stage in found.stages)]]
    rows += [[row.measure, *map(_percent, row.values)] for row in found.table]
    bits = (stage.bits_per_byte for stage in found.stages)
    table(
        [*rows, ["bits per byte of the first run’s held-out text", *("–" if b is None else f"{b:.3f}" for b in bits)]]
    )


def _percent(value: Estimate | None) -> str:
    return "–" if value is None else f"{value.value:.1%} ({100 * value.low:.0f}–{100 * value.high:.0f})"
