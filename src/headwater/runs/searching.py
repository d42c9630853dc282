"""A budget as a choice of runs, on devices of a table or on the machine at hand. No torch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from headwater.forecast.budget import Budget, parse_amount, parse_budget
from headwater.forecast.choices import LossModel
from headwater.forecast.ladder import scaled_shapes
from headwater.forecast.query import FINAL_SHARE, FINAL_SHARE_SOURCE, Query, Rates
from headwater.forecast.search import search, usual_flops
from headwater.forecast.sizes import sizes
from headwater.model.count import count_parameters
from headwater.model.settings import Family, ModelSettings
from headwater.runs.plan_loss import ladder_table, table_schedule_effect
from headwater.runs.run_config import RunConfig, load_run
from headwater.runs.search_options import SearchOptions, Text, text_of
from headwater.runs.searched_place import place_of
from headwater.runs.text_size import notes_of_repetition, usual_bytes_per_token
from headwater.scaling.own_runs import OwnRuns, own_runs
from headwater.scaling.published import published_laws
from headwater.scaling.repetition import OWN, USUAL

ON_DEVICES, ON_PROCESSOR = (65_536, 2048), (8192, 256)
"Vocabulary and row where nothing says: nanochat's, and those of first-light's size."


def search_budget(options: SearchOptions, clock: Callable[[], float] = time.perf_counter) -> dict[str, Any]:
    """Return what `headwater plan --budget --json` prints; raise ConfigError or DataError where it can't."""
    started_at = clock()
    budget = parse_budget(options.budget)
    config = None if options.run is None else load_run(options.run, list(options.overrides))[0]
    text = text_of(options, config)
    place = place_of(options, config, text)
    family, vocab_size, seq_len = _model_sizes(options, config, place.is_processor)
    per_token = options.costs.bytes_per_token or usual_bytes_per_token(vocab_size)
    query = _query(options, budget, place.rates, text, per_token)
    query.check()
    models = _with_own(list(sizes(family, vocab_size, seq_len)), config)
    guess = place.guess(query.final_hours * 3600)
    runs = options.runs or (ladder_table(config) if config else None)
    losses = published_laws(usual_flops(models, guess)) if runs is None else _own_losses(runs, config)
    result = search(query, models, guess, place.make, losses)
    result["notes"] += _notes_of_repetition(result["choices"], losses)
    name = "budget" if config is None else config.name
    return {"name": name, **result, "seconds": clock() - started_at}


def _own_losses(runs: Path, config: RunConfig | None) -> OwnRuns:
    """Return the law of a table, with the run's own schedule where the table's runs had another."""
    if config is None:
        return own_runs(runs)
    effect = table_schedule_effect(config, runs)
    return own_runs(runs, effect.move, effect.how, OWN if runs == ladder_table(config) else USUAL)


def _notes_of_repetition(choices: list[dict[str, Any]], losses: LossModel) -> list[str]:
    """Return a note where a choice reads its text far more often than the runs that its loss is forecast from."""
    most = max(choices, key=lambda choice: float(choice["epochs"]))
    return notes_of_repetition(f"the {' and '.join(most['kinds'])} choice", most["epochs"], losses.epochs)


def _with_own(models: list[ModelSettings], config: RunConfig | None) -> list[ModelSettings]:
    """Return the sizes of the dial, with the run's own model and smaller ones of its make; smallest first."""
    first = models[0]
    own = [] if config is None else scaled_shapes(config.model)
    alike = [each for each in own if (each.family, each.vocab_size, each.seq_len) == _kind(first)]
    return sorted([*models, *alike], key=lambda model: count_parameters(model).total)


def _kind(model: ModelSettings) -> tuple[str, int, int]:
    return model.family, model.vocab_size, model.seq_len


def _model_sizes(options: SearchOptions, config: RunConfig | None, is_processor: bool) -> tuple[Family, int, int]:
    vocab_size, seq_len = ON_PROCESSOR if is_processor else ON_DEVICES
    family: Family = "qwen3"
    if config is not None:
        family, vocab_size, seq_len = config.model.family, config.model.vocab_size, config.model.seq_len
    given = options.sizes()
    return given.get("family", family), given.get("vocab_size", vocab_size), given.get("seq_len", seq_len)


def _query(options: SearchOptions, budget: Budget, rates: Rates, text: Text, per_token: float) -> Query:
    share, share_how = options.costs.final_share, "final_share of the costs file"
    if share is None and budget.usd is not None:
        share, share_how = FINAL_SHARE, FINAL_SHARE_SOURCE
    elif share is None:
        share, share_how = 1.0, "a budget of hours is the run's own"
    unique = math.inf
    how = text.how
    if text.num_tokens is not None:
        unique = text.num_tokens
    elif text.num_bytes is not None:
        unique = text.num_bytes / per_token
        source = "the costs file" if options.costs.bytes_per_token else "a rule of thumb"
        how += f", {per_token:.2f} bytes a token ({source})"
    serve = parse_amount("--serve-tokens", options.serve_tokens, "tokens") if options.serve_tokens else None
    return Query(budget, share, rates, unique, how, serve, share_how)
