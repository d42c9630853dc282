"""Conversations to ids: the only place where the tokens around a message are written.

    <|im_start|>user\\nWhat is …?<|im_end|>\\n<|im_start|>assistant\\nIt is …<|im_end|>\\n

ids are joined, never text: whatever a message spells, nothing of it becomes a special token. The chat template of an
export gives the same ids through `apply_chat_template`, but for messages that spell special tokens and for answers that
begin with white space.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from headwater.core.conversations import ASSISTANT, Message
from headwater.core.errors import TokenizerError
from headwater.tokens.tokenizer.foreign import chat_template
from headwater.tokens.tokenizer.tokenizer import Tokenizer

START, END = "<|im_start|>", "<|im_end|>"


@dataclass(frozen=True, slots=True)
class Rendered:
    """The ids of a conversation, without begin and end of a document, and which of them the assistant says.

    Those are its words and the end of its turn, which it must learn to write.
    """

    ids: np.ndarray
    is_target: np.ndarray


def render(tokenizer: Tokenizer, conversations: Sequence[Sequence[Message]]) -> list[Rendered]:
    """Return the ids of each conversation; raise TokenizerError where the tokenizer has no tokens for messages."""
    start, end = turn_ids(tokenizer)
    pieces = [[each for message in messages for each in _pieces(message, start, end)] for messages in conversations]
    texts = list(dict.fromkeys(piece for each in pieces for piece, _ in each if isinstance(piece, str)))
    ids: dict[str | int, np.ndarray] = dict(zip(texts, tokenizer.encode_arrays(texts), strict=True))
    ids |= {token: np.array([token], dtype=np.uint32) for token in (start, end)}
    return [
        Rendered(
            np.concatenate([ids[piece] for piece, _ in each]),
            np.repeat([is_learned for _, is_learned in each], [len(ids[piece]) for piece, _ in each]),
        )
        for each in pieces
    ]


def prompt_and_answer(tokenizer: Tokenizer, messages: Sequence[Message]) -> tuple[list[int], list[int]]:
    """Return the ids before the last answer, from the begin token on, and those of the answer: all that is learned.

    It ends with the end of the message. The template's line break behind that is neither learned nor ever written, so
    that nothing that is trained on or measured may have it.
    """
    found = render(tokenizer, [messages])[0]
    ids, end = found.ids.tolist(), int(np.flatnonzero(found.is_target)[-1]) + 1
    first = int(np.flatnonzero(~found.is_target[:end])[-1]) + 1
    return [tokenizer.begin_id, *ids[:first]], ids[first:end]


def prompt_ids(tokenizer: Tokenizer, messages: Sequence[Message]) -> list[int]:
    """Return the ids after which the assistant speaks, from the begin token on."""
    return prompt_and_answer(tokenizer, [*messages, Message(ASSISTANT, "")])[0]


def turn_ids(tokenizer: Tokenizer) -> tuple[int, int]:
    """Return the ids of the tokens that begin and end a message."""
    try:
        return tokenizer.special[START], tokenizer.special[END]
    except KeyError:
        raise TokenizerError(
            f"this tokenizer has no {START} and {END}, which conversations are written with; tune a base that has them"
        ) from None


def is_chat_form(files: Mapping[str, bytes]) -> bool:
    """Return whether the chat template among a public tokenizer's files writes messages between START and END."""
    template = chat_template(files)
    return START in template and END in template


def _pieces(message: Message, start: int, end: int) -> list[tuple[str | int, bool]]:
    """Return the parts of a message, texts and ids of special tokens, each with whether it is learned.

    What the assistant says is encoded by itself, as it comes out of a model; other words together with their role, as
    readers of the chat template encode them.
    """
    role, content = message
    if role == ASSISTANT:
        return [(start, False), (f"{role}\n", False), (content, True), (end, True), ("\n", False)]
    return [(start, False), (f"{role}\n{content}", False), (end, False), ("\n", False)]
