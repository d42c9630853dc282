"""How what is asked becomes ids, and where an answer ends: a user's question, or the beginning of a text."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from headwater.core.conversations import USER, Message
from headwater.tokens.tokenizer.conversation import prompt_ids, turn_ids
from headwater.tokens.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class Prompts:
    """Ids of a prompt, after which the model writes, and the tokens that end what it writes."""

    ids_of: Callable[[str], list[int]]
    ends: Collection[int]


def chat_prompts(tokenizer: Tokenizer) -> Prompts:
    """Return prompts that are what a user says; the answer ends with the assistant's turn."""
    return Prompts(
        lambda prompt: prompt_ids(tokenizer, [Message(USER, prompt)]), {turn_ids(tokenizer)[1], tokenizer.end_id}
    )


def plain_prompts(tokenizer: Tokenizer) -> Prompts:
    """Return prompts that begin a text; the answer ends with the sentence or the line."""
    ends = {token for token in range(tokenizer.vocab_size) if set(tokenizer.token_bytes(token)) & set(b".\n")}

    def ids_of(prompt: str) -> list[int]:
        return [tokenizer.begin_id, *tokenizer.encode(prompt)]

    return Prompts(ids_of, ends | {tokenizer.end_id})
