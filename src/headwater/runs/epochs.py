"""The epochs of a run, by source and together. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from headwater.batches.mixture import make_plan
from headwater.errors import ConfigError
from headwater.model.count import count_parameters
from headwater.runs.mixture import train_rows
from headwater.runs.paths import split_tokens
from headwater.runs.planned_text import source_bytes, usual_bytes_per_token
from headwater.runs.run_config import RunConfig
from headwater.scaling.overfit import OWN

MIN_NOTED_EPOCHS, MUCH_MORE = 2.0, 1.5
"Epochs from which repetition is noted, and how many times those of the runs that the loss is forecast from."
STEPS_TO_BEGIN, MAX_EPOCHS_TO_BEGIN = 200, 3.5


@dataclass(frozen=True)
class SourceEpochs:
    """The tokens that a source gives to a run, and its epochs."""

    tokens: float
    times: float


EpochsBySource = Mapping[str, SourceEpochs]


def epochs_of(config: RunConfig) -> dict[str, SourceEpochs] | None:
    """Return what a run reads of each source, before its text is built about; None where some size isn't known.

    Raises ConfigError where the caps of epochs leave fewer tokens than the run needs.
    """
    rows = train_rows(config) if is_built(config) else _foreseen_rows(config)
    if rows is None:
        return None
    plan = make_plan(rows, config.mixture, config.num_rows)
    counts, epochs = plan.counts(config.num_rows), plan.epochs(config.num_rows)
    return {name: SourceEpochs(float(counts[name] * config.model.seq_len), epochs[name]) for name in rows}


def is_built(config: RunConfig) -> bool:
    """Return whether the run's text is built, of the sources that it has now."""
    return set(split_tokens(config.run_dir, "train") or {}) == set(config.corpus.sources)


def _foreseen_rows(config: RunConfig) -> dict[str, int] | None:
    """Return about how many rows each source trains on, by the size of its files; None where one isn't known."""
    sizes = {name: source_bytes(source) for name, source in config.corpus.sources.items()}
    row_bytes = usual_bytes_per_token(config.model.vocab_size) * config.model.seq_len
    trained = 1 - config.corpus.validation_fraction
    known = {name: math.ceil(trained * size / row_bytes) for name, size in sizes.items() if size}
    return known if set(known) == set(sizes) else None


def epochs_or_none(config: RunConfig) -> dict[str, SourceEpochs] | None:
    """Return what a run reads of each source, None also where its caps of epochs don't allow it."""
    try:
        return epochs_of(config)
    except ConfigError:
        return None


def most_epochs(by_source: EpochsBySource) -> float:
    return max(found.times for found in by_source.values())


def overall_epochs(by_source: EpochsBySource | None) -> float:
    """Return all tokens over those that are different: 1 where nothing is read twice, or isn't known yet."""
    if not by_source:
        return 1.0
    different = sum(found.tokens / max(1.0, found.times) for found in by_source.values())
    return sum(found.tokens for found in by_source.values()) / different


def useful_epochs(params: float, unique: float, batch_tokens: float) -> float:
    """Return the most epochs of `unique` tokens that still teach: where more tokens bring what repeating them costs.

    But a run of fewer than 200 steps has hardly begun to learn (docs/log.md, texts of 0.14 and 1.2 MB).
    """
    to_begin = min(MAX_EPOCHS_TO_BEGIN, STEPS_TO_BEGIN * batch_tokens / unique)
    return max(OWN.best_epochs(params, unique), to_begin)


def notes_of_memorising(config: RunConfig) -> list[str]:
    """Return a note where a run reads its text so often that such a model memorises it."""
    together = overall_epochs(epochs_or_none(config))
    params, tokens = count_parameters(config.model).total, config.train.num_steps * config.train.batch_tokens
    useful = useful_epochs(params, tokens / together, config.train.batch_tokens)
    if together < MUCH_MORE * useful:
        return []
    return [
        f"{together:.1f} epochs of this text: a model of this size learns most from about {useful:.1f}, memorises "
        "more, and gets worse on other text. Use fewer steps, more text or a smaller model; to measure it: "
        "headwater ladder RUN"
    ]


def notes_of_repetition(who: str, times: float, known: float) -> list[str]:
    """Return a note where `who` reads its text far more often than the runs did that its loss is forecast from."""
    if times < max(MIN_NOTED_EPOCHS, MUCH_MORE * known):
        return []
    return [
        f"{who} has {times:.1f} epochs; the runs behind the forecast of its loss had {known:.2g}. The cost of "
        "repetition is borrowed from other runs and uncertain by 3 times; headwater ladder RUN measures it"
    ]
