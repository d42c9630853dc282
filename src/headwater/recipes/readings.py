"""How often a run reads its text, by source and together. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from headwater.batches.mixture import make_plan
from headwater.errors import ConfigError
from headwater.recipes.mixture_shares import train_rows
from headwater.recipes.run_config import RunConfig
from headwater.recipes.stages import split_tokens

LEAST_REPEATED, MUCH_MORE = 2.0, 1.5
"Readings of the text from which repetition is noted, and how many times those of the runs that tell the loss."


@dataclass(frozen=True)
class Reading:
    """The tokens that a source gives to a run, and how often its text is read for them."""

    tokens: float
    times: float


Readings = Mapping[str, Reading]


def readings_of(config: RunConfig) -> dict[str, Reading] | None:
    """Return what a run reads of each source; None before its text is built, or when that is of other sources.

    Raises ConfigError where the caps of epochs leave fewer tokens than the run needs.
    """
    found = split_tokens(config, "train")
    if found is None or set(found) != set(config.corpus.sources):
        return None
    plan = make_plan(train_rows(config), config.mixture, config.num_rows)
    counts, epochs = plan.counts(config.num_rows), plan.epochs(config.num_rows)
    return {name: Reading(float(counts[name] * config.model.seq_len), epochs[name]) for name in found}


def readings_or_none(config: RunConfig) -> dict[str, Reading] | None:
    """Return what a run reads of each source, None also where its caps of epochs don't allow it."""
    try:
        return readings_of(config)
    except ConfigError:
        return None


def most_times(readings: Readings) -> float:
    return max(reading.times for reading in readings.values())


def times_together(readings: Readings | None) -> float:
    """Return all tokens over those that are different: 1 where nothing is read twice, or isn't known yet."""
    if not readings:
        return 1.0
    different = sum(reading.tokens / max(1.0, reading.times) for reading in readings.values())
    return sum(reading.tokens for reading in readings.values()) / different


def notes_of_repetition(who: str, times: float, known: float) -> list[str]:
    """Return a note where `who` reads its text far more often than those did that its loss is forecast from."""
    if times < max(LEAST_REPEATED, MUCH_MORE * known):
        return []
    return [
        f"{who} reads its text {times:.1f} times, and what its loss is forecast from {known:.2g} times: what that "
        "costs is reckoned by other runs, and differs three-fold from one way of training to another; `headwater "
        "ladder RUN` shows it, for its runs read as often"
    ]
