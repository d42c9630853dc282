"""Conversations to tune on: capitals of the countries that tuning may name, asked in three ways, answered in one."""

from __future__ import annotations

import random

from headwater.core.conversations import ASSISTANT, USER, Message
from headwater.corpus.samples.almanac.questions import ANSWER, TRAINING_PHRASINGS, Split, filled


def capital_conversations(
    split: Split, seed: int = 0, phrasings: tuple[str, ...] = TRAINING_PHRASINGS
) -> list[list[Message]]:
    """Return a conversation for each known country that tuning names and each phrasing."""
    conversations = [
        [Message(USER, filled(phrasing, country)), Message(ASSISTANT, filled(ANSWER, country))]
        for country in split.known_tuned
        for phrasing in phrasings
    ]
    random.Random(f"conversations {seed}").shuffle(conversations)
    return conversations
