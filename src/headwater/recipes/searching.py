"""A budget as a choice of runs, on devices of a table or on the machine at hand. No torch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from headwater.model.count import count_parameters
from headwater.model.settings import Family, ModelSettings
from headwater.plan.asked import FINAL_SHARE, FINAL_SHARE_SOURCE, Asked, Rates
from headwater.plan.budget import Budget, parse_amount, parse_budget
from headwater.plan.choices import LossModel
from headwater.plan.ladder import scaled_shapes
from headwater.plan.law.overfit import OWN, USUAL
from headwater.plan.law.own_runs import OwnRuns, own_runs
from headwater.plan.law.published import published_laws
from headwater.plan.search import search, usual_flops
from headwater.plan.sizes import sizes
from headwater.recipes.planned_loss import ladder_table, moved_of_table
from headwater.recipes.planned_text import usual_bytes_per_token
from headwater.recipes.readings import notes_of_repetition
from headwater.recipes.run_config import RunConfig, load_run
from headwater.recipes.searched_place import place_of
from headwater.recipes.searched_text import Text, text_of
from headwater.recipes.wishes import Wishes

ON_DEVICES, ON_PROCESSOR = (65_536, 2048), (8192, 256)
"Vocabulary and row where nothing says: nanochat's, and those of first-light's size."


def search_budget(wishes: Wishes, clock: Callable[[], float] = time.perf_counter) -> dict[str, Any]:
    """Return what `headwater plan --budget --json` prints; raise ConfigError or DataError where it can't."""
    started_at = clock()
    wishes.check()
    budget = parse_budget(wishes.budget)
    config = None if wishes.run is None else load_run(wishes.run, list(wishes.overrides))[0]
    text = text_of(wishes, config)
    place = place_of(wishes, config, text)
    family, vocab_size, seq_len = _model_sizes(wishes, config, place.is_processor)
    per_token = wishes.bytes_per_token or usual_bytes_per_token(vocab_size)
    asked = _asked(wishes, budget, place.rates, text, per_token)
    asked.check()
    models = _with_own(list(sizes(family, vocab_size, seq_len)), config)
    guess = place.guess(asked.final_hours * 3600)
    runs = wishes.runs or (ladder_table(config) if config else None)
    losses = published_laws(usual_flops(models, guess)) if runs is None else _own_losses(runs, config)
    result = search(asked, models, guess, place.make, losses)
    result["notes"] += _notes_of_repetition(result["choices"], losses)
    name = "budget" if config is None else config.name
    return {"name": name, **result, "seconds": clock() - started_at}


def _own_losses(runs: Path, config: RunConfig | None) -> OwnRuns:
    """Return the law of a table, with the run's own schedule where the table's runs had another."""
    if config is None:
        return own_runs(runs)
    moved = moved_of_table(config, runs)
    return own_runs(runs, moved.move, moved.how, OWN if runs == ladder_table(config) else USUAL)


def _notes_of_repetition(choices: list[dict[str, Any]], losses: LossModel) -> list[str]:
    """Return a note where a choice reads its text far more often than the runs that its loss is forecast from."""
    most = max(choices, key=lambda choice: float(choice["epochs"]))
    return notes_of_repetition(f"the {' and '.join(most['kinds'])} choice", most["epochs"], losses.readings)


def _with_own(models: list[ModelSettings], config: RunConfig | None) -> list[ModelSettings]:
    """Return the sizes of the dial, with the run's own model and smaller ones of its make; smallest first."""
    first = models[0]
    own = [] if config is None else scaled_shapes(config.model)
    alike = [each for each in own if (each.family, each.vocab_size, each.seq_len) == _kind(first)]
    return sorted([*models, *alike], key=lambda model: count_parameters(model).total)


def _kind(model: ModelSettings) -> tuple[str, int, int]:
    return model.family, model.vocab_size, model.seq_len


def _model_sizes(wishes: Wishes, config: RunConfig | None, is_processor: bool) -> tuple[Family, int, int]:
    vocab_size, seq_len = ON_PROCESSOR if is_processor else ON_DEVICES
    family: Family = "qwen3"
    if config is not None:
        family, vocab_size, seq_len = config.model.family, config.model.vocab_size, config.model.seq_len
    if wishes.family:
        family = wishes.family  # type: ignore[assignment]
    return family, wishes.vocab_size or vocab_size, wishes.seq_len or seq_len


def _asked(wishes: Wishes, budget: Budget, rates: Rates, text: Text, per_token: float) -> Asked:
    share, share_how = wishes.final_share, "--final-share"
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
        source = "--bytes-per-token" if wishes.bytes_per_token else "a rule of thumb"
        how += f", {per_token:.2f} bytes a token ({source})"
    serve = parse_amount("--serve-tokens", wishes.serve_tokens, "tokens") if wishes.serve_tokens else None
    return Asked(budget, share, rates, unique, how, serve, share_how)
