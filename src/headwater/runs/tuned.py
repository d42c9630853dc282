"""Whether the model of a run answers messages: the one place that decides it."""

from __future__ import annotations

from headwater.runfile.run_config import RunConfig
from headwater.tokens.tokenizer.conversation import is_chat_form
from headwater.tokens.tokenizer.foreign import FILES
from headwater.train.checkpoint.origins import may_answer, origins_before


def was_tuned(config: RunConfig) -> bool:
    """Return whether a run, or one of those that it goes back to, learned from conversations as they are written here.

    A base of which an older headwater kept no origins tells nothing.
    """
    return config.is_tuned or any(each.is_tuned for each in origins_before(config.run_dir, config.base))


def answers_messages(config: RunConfig) -> bool:
    """Return whether the model of a run answers messages: tuned to, or begun from a base that does by its template.

    `has_chat_form` says it of a model that isn't a run.
    """
    if was_tuned(config) or config.base is None:
        return was_tuned(config)
    paths = [path for name in FILES if (path := config.folders.tokenizer / name).is_file()]
    may = may_answer(origins_before(config.run_dir, config.base))
    return may and is_chat_form({path.name: path.read_bytes() for path in paths})
