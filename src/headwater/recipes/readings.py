"""How often a run reads its text, by source and together. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from headwater.batches.mixture import make_plan
from headwater.errors import ConfigError
from headwater.model.count import count_parameters
from headwater.plan.law.overfit import OWN
from headwater.recipes.mixture_shares import train_rows
from headwater.recipes.planned_text import source_bytes, usual_bytes_per_token
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
    """Return what a run reads of each source, before its text is built about; None where some size isn't known.

    Raises ConfigError where the caps of epochs leave fewer tokens than the run needs.
    """
    rows = train_rows(config) if is_built(config) else _foreseen_rows(config)
    if rows is None:
        return None
    plan = make_plan(rows, config.mixture, config.num_rows)
    counts, epochs = plan.counts(config.num_rows), plan.epochs(config.num_rows)
    return {name: Reading(float(counts[name] * config.model.seq_len), epochs[name]) for name in rows}


def is_built(config: RunConfig) -> bool:
    """Return whether the run's text is built, of the sources that it has now."""
    return set(split_tokens(config, "train") or {}) == set(config.corpus.sources)


def _foreseen_rows(config: RunConfig) -> dict[str, int] | None:
    """Return about how many rows each source will have, by the size of its files; None where one isn't known."""
    sizes = {name: source_bytes(source) for name, source in config.corpus.sources.items()}
    row_bytes = usual_bytes_per_token(config.model.vocab_size) * config.model.seq_len
    known = {name: math.ceil(size / row_bytes) for name, size in sizes.items() if size}
    return known if set(known) == set(sizes) else None


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


def notes_of_heart(config: RunConfig) -> list[str]:
    """Return a note where a run reads its text so often that such a model learns it by heart."""
    together = times_together(readings_or_none(config))
    params, tokens = count_parameters(config.model).total, config.train.num_steps * config.train.batch_tokens
    best = OWN.best_readings(params, tokens / together)
    if together < MUCH_MORE * best:
        return []
    return [
        f"the run reads its text {together:.1f} times, and small models of so many parameters for their text learnt "
        f"most from about {best:.1f} readings: more is learnt by heart, and the loss on other text rises; take fewer "
        "steps, more text or a smaller model, or let `headwater ladder RUN` foretell it"
    ]


def notes_of_repetition(who: str, times: float, known: float) -> list[str]:
    """Return a note where `who` reads its text far more often than those did that its loss is forecast from."""
    if times < max(LEAST_REPEATED, MUCH_MORE * known):
        return []
    return [
        f"{who} reads its text {times:.1f} times, and what its loss is forecast from {known:.2g} times: what that "
        "costs is reckoned by other runs, and differs three-fold from one way of training to another; `headwater "
        "ladder RUN` shows it, for its runs read as often"
    ]
