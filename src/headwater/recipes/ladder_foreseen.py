"""What `headwater ladder RUN --dry-run` says: the rungs that would be trained. Nothing is written. No torch."""

from __future__ import annotations

from typing import Any

from headwater.recipes.busy import busy_before
from headwater.recipes.ladder_design import LadderOptions, design_ladder
from headwater.recipes.ladder_record import UnfinishedLadder, trained_rungs
from headwater.recipes.stages import is_prepared

NOT_PREPARED = (
    "the text is not prepared yet: held-out text is estimated from file sizes, and the rungs may change a little when "
    "headwater ladder RUN has prepared it"
)


def ladder_preview(run: str, overrides: list[str], options: LadderOptions) -> dict[str, Any]:
    """Return what `--dry-run --json` prints; raise ConfigError for a budget that no ladder fits in."""
    ladder = design_ladder(run, overrides, options)
    is_text_ready = is_prepared(ladder.config)
    # rungs of text that has changed since are trained again
    done = trained_rungs(ladder.config, ladder.rungs) if is_text_ready else []
    names = {found.rung.name for found in done}
    notes = [] if is_text_ready else [NOT_PREPARED]
    if done:
        notes.append(UnfinishedLadder(done, len(ladder.rungs)).says)
    if busy := busy_before():
        notes.append(busy)
    return {
        "rungs": [{**vars(rung), "name": rung.name, "is_trained": rung.name in names} for rung in ladder.rungs],
        "run_seconds": ladder.target.seconds,
        "is_text_prepared": is_text_ready,
        "notes": notes,
    }
