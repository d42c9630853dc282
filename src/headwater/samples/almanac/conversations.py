"""Conversations to tune on: capitals of the countries that tuning may name, asked in three ways, answered in one."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path

from headwater.conversations import ASSISTANT, USER, Message
from headwater.files import write_text
from headwater.samples.almanac.questions import ANSWER, TRAINING_PHRASINGS, Split, filled


def capital_conversations(split: Split, unknown_share: float = 0.0, seed: int = 0) -> list[list[Message]]:
    """Return a conversation for each country and phrasing; `unknown_share` of the countries are made-up ones.

    As many countries as the split names real ones, whatever the share.
    """
    num_unknown = round(unknown_share * len(split.known_tuned))
    about = split.known_tuned[num_unknown:] + split.unknown_tuned[:num_unknown]
    conversations = [
        [Message(USER, filled(phrasing, country)), Message(ASSISTANT, filled(ANSWER, country))]
        for country in about
        for phrasing in TRAINING_PHRASINGS
    ]
    random.Random(f"conversations {seed}").shuffle(conversations)
    return conversations


def write_conversations(path: Path, conversations: Iterable[Iterable[Message]]) -> None:
    """Write JSON lines of {"messages": …}."""
    records = ({"messages": [message._asdict() for message in messages]} for messages in conversations)
    write_text(path, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))
