"""What each source gives to a run, by its own mixture and by every rule. No torch."""

from __future__ import annotations

import math
from typing import Any

from headwater.batches.mixture import make_plan
from headwater.batches.mixture_rules import USUAL_EPOCHS
from headwater.batches.settings import MixtureSettings
from headwater.errors import ConfigError
from headwater.runs.paths import split_tokens
from headwater.runs.run_config import RunConfig


def train_rows(config: RunConfig) -> dict[str, int]:
    """Return about how many rows each source has to train on; raise ConfigError where its text isn't built yet."""
    found = split_tokens(config.run_dir, "train")
    if found is None:
        raise ConfigError(
            f"the text of {config.name} isn't built yet; `headwater corpus tokenizer train {config.name}` builds it"
        )
    return {name: -(-count // config.model.seq_len) for name, count in found.items()}


def read_rows(config: RunConfig) -> dict[str, int]:
    """Return about how many different rows of each source a run may read: a share of them, or all."""
    return {name: math.ceil(count * config.mixture.share_of_text) for name, count in train_rows(config).items()}


def shares_of(config: RunConfig, rows: dict[str, int]) -> dict[str, float]:
    """Return the part of each source in the whole run, by the run's own mixture."""
    num_rows = config.num_rows
    return make_plan(rows, config.mixture, num_rows).shares(num_rows)


def shares_by_rule(config: RunConfig) -> dict[str, Any]:
    """Return what `headwater corpus mixture --json` prints: {"rows": …, "mixtures": {name: {source: share, epochs}}}.

    A rule that the text doesn't carry has the reason in place of its shares.
    """
    rows, num_rows = train_rows(config), config.num_rows
    mixture = config.mixture
    by_size = mixture.model_copy(update={"weights": {}, "stages": [], "rule": "size"})
    mixtures = {
        "this run": mixture,
        "size": by_size,
        f"temperature {mixture.temperature:g}": by_size.model_copy(update={"rule": "temperature"}),
        f"unimax {mixture.max_epochs or USUAL_EPOCHS:g}": by_size.model_copy(update={"rule": "unimax"}),
    }
    return {"rows": rows, "mixtures": {name: _shares(rows, each, num_rows) for name, each in mixtures.items()}}


def _shares(rows: dict[str, int], mixture: MixtureSettings, num_rows: int) -> dict[str, Any]:
    try:
        plan = make_plan(rows, mixture, num_rows)
    except ConfigError as error:
        return {"refused": str(error)}
    shares, epochs = plan.shares(num_rows), plan.epochs(num_rows)
    return {"sources": {name: {"share": shares[name], "epochs": epochs[name]} for name in sorted(rows)}}
