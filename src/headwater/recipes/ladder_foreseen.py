"""What `headwater ladder RUN --dry-run` says: the rungs that would be trained. Nothing is written. No torch."""

from __future__ import annotations

from typing import Any

from headwater.recipes.busy import busy_before
from headwater.recipes.ladder_design import LadderWishes, design_ladder
from headwater.recipes.ladder_record import BegunLadder, trained_rungs
from headwater.recipes.stages import is_prepared

NOT_PREPARED = (
    "the text is not prepared, and nothing was written: how much is held out is guessed from its size, so that the "
    "ladder may choose somewhat other rungs when it begins; `headwater ladder RUN` prepares it first"
)


def foreseen_ladder(run: str, overrides: list[str], wishes: LadderWishes) -> dict[str, Any]:
    """Return what `--dry-run --json` prints; raise ConfigError for a budget that no ladder fits in."""
    ladder = design_ladder(run, overrides, wishes)
    is_text_ready = is_prepared(ladder.config)
    # rungs of text that has changed since are trained anew
    done = trained_rungs(ladder.config, ladder.rungs) if is_text_ready else []
    names = {found.rung.name for found in done}
    notes = [] if is_text_ready else [NOT_PREPARED]
    if done:
        notes.append(BegunLadder(done, len(ladder.rungs)).says)
    if busy := busy_before():
        notes.append(busy)
    return {
        "rungs": [{**vars(rung), "name": rung.name, "is_trained": rung.name in names} for rung in ladder.rungs],
        "run_seconds": ladder.target.seconds,
        "is_text_prepared": is_text_ready,
        "notes": notes,
    }
