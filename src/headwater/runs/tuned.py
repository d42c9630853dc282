"""Whether the model of a run answers messages: the one place that decides it."""

from __future__ import annotations

from pathlib import Path

from headwater.base.facts import BaseFacts
from headwater.checkpoint.layout import step_of
from headwater.errors import ConfigError
from headwater.runs.paths import read_kept
from headwater.runs.run_config import RunConfig, config_of_run
from headwater.tokenizer.conversation import is_chat_form
from headwater.tokenizer.foreign import FILES

MAX_BASES = 100
"Runs that each began from the one before; a circle of them, which only a hand can write, ends."


def was_tuned(config: RunConfig) -> bool:
    """Return whether a run, or one of those that it goes back to, learned from conversations as they are written here.

    A base that isn't there any more tells nothing.
    """
    for _ in range(MAX_BASES):
        if config.is_tuned or config.base is None:
            break
        kept = read_kept(config.folders.base, BaseFacts)
        weights = Path(config.base) if kept is None else kept.weights
        try:
            config = config_of_run(weights.resolve().parents[1] if step_of(weights) is not None else weights)
        except ConfigError:
            break
    return config.is_tuned


def answers_messages(config: RunConfig) -> bool:
    """Return whether the model of a run answers messages: tuned to, or begun from a base whose tokenizer has them.

    `has_chat_form` says it of a model that is no run.
    """
    if config.is_tuned or config.base is None:
        return config.is_tuned
    paths = [path for name in FILES if (path := config.folders.tokenizer / name).is_file()]
    return was_tuned(config) or is_chat_form({path.name: path.read_bytes() for path in paths})
