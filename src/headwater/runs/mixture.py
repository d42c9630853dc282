"""What each source gives to a run, by its own mixture and by every rule. No torch."""

from __future__ import annotations

import math
from typing import Any

from headwater.batches.mixture import make_plan
from headwater.batches.mixture_rules import USUAL_EPOCHS
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


def shares_by_rule(config: RunConfig) -> dict[str, Any]:
    """Return what `headwater corpus mixture --json` prints: {"rows": …, "mixtures": {name: {source: share, epochs}}}.

    A rule that the text doesn't carry has the reason in place of its shares.
    """
    rows, num_rows, mixture = train_rows(config), config.num_rows, config.mixture
    by_size = mixture.model_copy(update={"weights": {}, "stages": [], "rule": "size"})
    found: dict[str, Any] = {}
    for name, each in {
        "this run": mixture,
        "size": by_size,
        f"temperature {mixture.temperature:g}": by_size.model_copy(update={"rule": "temperature"}),
        f"unimax {mixture.max_epochs or USUAL_EPOCHS:g}": by_size.model_copy(update={"rule": "unimax"}),
    }.items():
        try:
            plan = make_plan(rows, each, num_rows)
        except ConfigError as error:
            found[name] = {"refused": str(error)}
            continue
        shares, epochs = plan.shares(num_rows), plan.epochs(num_rows)
        sources = {source: {"share": shares[source], "epochs": epochs[source]} for source in sorted(rows)}
        found[name] = {"sources": sources}
    return {"rows": rows, "mixtures": found}
