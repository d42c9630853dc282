"""What a model writes: the next token of a prompt, text continued from it, its surprise at a text.

V vocabulary
"""

from __future__ import annotations

import codecs
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from headwater.errors import EvaluationError
from headwater.evaluate.scorer import Scorer
from headwater.model.init import derived_seed
from headwater.tokenizer.tokenizer import Tokenizer


class NextToken(NamedTuple):
    token: str
    probability: float


class Piece(NamedTuple):
    """Text generated since the piece before, in whole characters; the last piece has `end`, the reason to stop."""

    text: str
    num_tokens: int  # so far
    end: Literal["end token", "max_tokens"] | None = None


class TokenSurprise(NamedTuple):
    token: str
    nats: float


@dataclass(frozen=True)
class TextSurprise:
    """-log p of each token of a text, and of the whole text in bits per byte."""

    tokens: list[TokenSurprise]
    bits_per_byte: float


def next_tokens(scorer: Scorer, tokenizer: Tokenizer, prompt: str, top: int = 10) -> list[NextToken]:
    """Return the `top` likeliest next tokens, likeliest first; of equally likely ones the lower id first.

    The prompt is read as the start of a document; of one longer than `seq_len`, the last `seq_len` tokens.
    """
    probability_V = torch.softmax(scorer.next_logits([tokenizer.begin_id, *tokenizer.encode(prompt)]), dim=-1)
    likeliest = torch.sort(probability_V, descending=True, stable=True).indices[:top].tolist()
    return [NextToken(token_text(tokenizer, token), float(probability_V[token])) for token in likeliest]


def generate(*given: Any, **more: Any) -> str:
    """Return the text that `stream` yields with the same arguments."""
    return "".join(piece.text for piece in stream(*given, **more))


def stream(
    scorer: Scorer,
    tokenizer: Tokenizer,
    prompt: str,
    max_tokens: int,
    temperature: float = 1.0,
    top_p: float = 1.0,
    seed: int = 0,
) -> Iterator[Piece]:
    """Yield the text that follows `prompt`, a piece a token, up to the end token or `max_tokens` tokens.

    Past `seq_len` tokens the model sees the last `seq_len`. Temperature 0 takes the likeliest token each time. `top_p`
    draws from the smallest set of likeliest tokens that together have at least that probability (arXiv:1904.09751). A
    draw depends on (seed, position) alone, so that more tokens leave the first ones as they were. Bytes that are no
    UTF-8 become U+FFFD.
    Raises EvaluationError for a temperature or a `top_p` that means nothing.
    """
    if not (math.isfinite(temperature) and temperature >= 0 and 0 < top_p <= 1):
        raise EvaluationError(
            f"temperature={temperature}, top_p={top_p} can't be sampled with; "
            "temperature is 0 (likeliest token) or more, top_p above 0 and at most 1 (all tokens)"
        )
    ids = [tokenizer.begin_id, *tokenizer.encode(prompt)]
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for num_tokens in range(max_tokens):
        token = _draw(scorer.next_logits(ids), temperature, top_p, derived_seed(seed, "generate", len(ids)))
        if token == tokenizer.end_id:
            yield Piece(decoder.decode(b"", final=True), num_tokens, "end token")
            return
        ids.append(token)
        yield Piece(decoder.decode(tokenizer.token_bytes(token)), num_tokens + 1)
    yield Piece(decoder.decode(b"", final=True), max_tokens, "max_tokens")


def likeliest(scorer: Scorer, tokenizer: Tokenizer, prompts: Sequence[str], max_tokens: int) -> list[str]:
    """Return what `generate` does at temperature 0 for each prompt, of all of them at once: a pass a token."""
    rows = [[tokenizer.begin_id, *tokenizer.encode(prompt)] for prompt in prompts]
    starts = [len(row) for row in rows]
    for _ in range(max_tokens):
        if all(row[-1] == tokenizer.end_id for row in rows):
            break
        for row, logits_V in zip(rows, scorer.next_logits_of(rows), strict=True):  # all, for there to be few shapes
            if row[-1] != tokenizer.end_id:
                row.append(int(logits_V.argmax()))
    written = ((token for token in row[start:] if token != tokenizer.end_id) for row, start in zip(rows, starts))
    return [b"".join(map(tokenizer.token_bytes, tokens)).decode("utf-8", "replace") for tokens in written]


def surprise(scorer: Scorer, tokenizer: Tokenizer, text: str) -> TextSurprise:
    """Return how surprised the model is at each token of `text`, read as a document from its start.

    A text longer than `seq_len` is read in windows that overlap by half, so that every token past the first window
    has at least seq_len // 2 tokens before it. The end of the document is not scored.
    Raises EvaluationError when the text is empty.
    """
    ids = [tokenizer.begin_id, *tokenizer.encode(text)]
    if len(ids) == 1:
        raise EvaluationError("the text is empty: there is nothing to be surprised at")
    nats: list[float] = []
    for start, stop in _windows(len(ids) - 1, scorer.max_tokens):
        losses = scorer.target_losses(ids[start : stop + 1])
        nats += losses[len(nats) - start :].tolist()
    tokens = [TokenSurprise(token_text(tokenizer, token), value) for token, value in zip(ids[1:], nats, strict=True)]
    return TextSurprise(tokens, math.fsum(nats) / math.log(2) / len(text.encode()))


def token_text(tokenizer: Tokenizer, token: int) -> str:
    """Return a token as text: a special one by its name; bytes that are no whole character as U+FFFD."""
    names = {special: name for name, special in tokenizer.special.items()}
    return names.get(token) or tokenizer.token_bytes(token).decode("utf-8", errors="replace")


def _windows(num_targets: int, seq_len: int) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of the inputs of each window, the last one full as well."""
    stride = max(1, seq_len // 2)
    stop = min(seq_len, num_targets)
    yield 0, stop
    while stop < num_targets:
        stop = min(stop + stride, num_targets)
        yield stop - seq_len, stop


def _draw(logits_V: Tensor, temperature: float, top_p: float, seed: int) -> int:
    if temperature == 0:
        return int(logits_V.argmax())
    # fp64, and the maximum taken off before the division: no temperature is too small
    probability_V = torch.softmax((logits_V - logits_V.max()).double() / temperature, dim=-1)
    sorted_V, token_V = torch.sort(probability_V, descending=True, stable=True)
    cumulative_V = sorted_V.cumsum(0)
    num_kept = int((cumulative_V - sorted_V < top_p).sum())
    generator = torch.Generator().manual_seed(seed)
    point = torch.rand((), generator=generator, dtype=torch.float64) * cumulative_V[num_kept - 1]
    return int(token_V[min(int(torch.searchsorted(cumulative_V, point, right=True)), num_kept - 1)])
