"""What a model writes: the next token of a prompt, text continued from it, its surprise at a text.

V vocabulary
"""

from __future__ import annotations

import codecs
import math
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from headwater.core.errors import EvaluationError
from headwater.evaluate.scorer import Scorer
from headwater.model.init import derived_seed
from headwater.tokens.tokenizer.tokenizer import Tokenizer

Choose = Callable[[Tensor, list[int], list[int]], Sequence[int]]
"Of the scores (B, V) of the token after each of B rows, the rows' numbers and their lengths, to these tokens."


class NextToken(NamedTuple):
    token: str
    probability: float


class GeneratedText(NamedTuple):
    """Text generated since the piece before, in whole characters; the last piece has `end`, the reason to stop."""

    text: str
    num_tokens: int  # so far
    end: Literal["end token", "max_tokens"] | None = None


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn: at random by the model's probabilities, or at temperature 0 the likeliest one.

    `top_p` draws from the smallest set of likeliest tokens that together have at least that probability
    (arXiv:1904.09751). A draw depends on (seed, position) alone, so that more tokens leave the first ones as they were.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0 and 0 < self.top_p <= 1):
            raise EvaluationError(
                f"temperature={self.temperature}, top_p={self.top_p} can't be sampled with; "
                "temperature is 0 (likeliest token) or more, top_p above 0 and at most 1 (all tokens)"
            )

    def choose(self, logits_BV: Tensor, numbers: list[int], lengths: list[int]) -> list[int]:
        if self.temperature == 0:
            return logits_BV.argmax(-1).tolist()
        return [self.draw(logits_V, length) for logits_V, length in zip(logits_BV, lengths, strict=True)]

    def probabilities(self, logits_V: Tensor) -> Tensor:
        """Return the probability of each token at this temperature, before `top_p`."""
        if self.temperature == 0:
            return torch.nn.functional.one_hot(logits_V.argmax(), len(logits_V)).double()
        # fp64, and the maximum taken off before the division: no temperature is too small
        return torch.softmax((logits_V - logits_V.max()).double() / self.temperature, dim=-1)

    def draw(self, logits_V: Tensor, position: int) -> int:
        """Return the token at a position of which these are the scores; the temperature is above 0."""
        sorted_V, token_V = torch.sort(self.probabilities(logits_V), descending=True, stable=True)
        cumulative_V = sorted_V.cumsum(0)
        num_kept = int((cumulative_V - sorted_V < self.top_p).sum())
        generator = torch.Generator().manual_seed(derived_seed(self.seed, "generate", position))
        point = torch.rand((), generator=generator, dtype=torch.float64) * cumulative_V[num_kept - 1]
        return int(token_V[min(int(torch.searchsorted(cumulative_V, point, right=True)), num_kept - 1)])


LIKELIEST = Sampling(temperature=0)


class TokenSurprise(NamedTuple):
    """A token, or several that only together are a character, and the bits of all of them."""

    token: str
    bits: float


@dataclass(frozen=True)
class TextSurprise:
    """-log2 p of each token of a text, and of the whole text in bits per byte."""

    tokens: list[TokenSurprise]
    bits_per_byte: float


def next_tokens(
    scorer: Scorer, tokenizer: Tokenizer, prompt: str, top: int = 10, temperature: float = 1.0
) -> list[NextToken]:
    """Return the `top` likeliest next tokens, likeliest first; of equally likely ones the lower id first.

    The prompt is read as the start of a document; of one longer than `seq_len`, the last `seq_len` tokens.
    """
    logits_V = scorer.next_logits([tokenizer.begin_id, *tokenizer.encode(prompt)])
    probability_V = Sampling(temperature).probabilities(logits_V)
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
) -> Iterator[GeneratedText]:
    """Yield the text that follows `prompt`, a piece a token, up to the end token or `max_tokens` tokens.

    Past `seq_len` tokens the model sees the last `seq_len`. Raises EvaluationError for a temperature or a `top_p` that
    means nothing.
    """
    ids = [tokenizer.begin_id, *tokenizer.encode(prompt)]
    return stream_from(scorer, tokenizer, ids, max_tokens, Sampling(temperature, top_p, seed), {tokenizer.end_id})


def stream_from(
    scorer: Scorer, tokenizer: Tokenizer, ids: list[int], max_tokens: int, sampling: Sampling, ends: Container[int]
) -> Iterator[GeneratedText]:
    """Yield the text that follows `ids` up to one of the tokens that are `ends`; bytes that are no UTF-8 as U+FFFD."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for num_tokens, (row,) in enumerate(extended(scorer, [ids], max_tokens, ends, sampling.choose)):
        if row[-1] in ends:
            yield GeneratedText(decoder.decode(b"", final=True), num_tokens, "end token")
            return
        yield GeneratedText(decoder.decode(tokenizer.token_bytes(row[-1])), num_tokens + 1)
    yield GeneratedText(decoder.decode(b"", final=True), max_tokens, "max_tokens")


def likeliest(scorer: Scorer, tokenizer: Tokenizer, prompts: Sequence[str], max_tokens: int) -> list[str]:
    """Return what `generate` does at temperature 0 for each prompt, of all of them at once: a pass a token."""
    rows = [[tokenizer.begin_id, *tokenizer.encode(prompt)] for prompt in prompts]
    written = continued(scorer, rows, max_tokens, {tokenizer.end_id})
    return [tokenizer.decode(tokens) for tokens in written]


def continued(
    scorer: Scorer, rows: Sequence[list[int]], max_tokens: int, ends: Container[int], choose: Choose | None = None
) -> list[list[int]]:
    """Return the tokens that follow each row, with the end that was reached; by default the likeliest ones."""
    longer = list(rows)
    for grown in extended(scorer, rows, max_tokens, ends, choose or LIKELIEST.choose):
        longer = grown
    return [row[len(before) :] for row, before in zip(longer, rows, strict=True)]


def extended(
    scorer: Scorer, rows: Sequence[list[int]], max_tokens: int, ends: Container[int], choose: Choose
) -> Iterator[list[list[int]]]:
    """Yield all rows a token longer each time, until every one has reached one of `ends`, where it stays as it is."""
    longer, next_logits_of = [list(row) for row in rows], scorer.growing()
    open_rows = list(range(len(rows)))
    for _ in range(max_tokens):
        if not open_rows:
            return
        logits_BV = next_logits_of(longer)[open_rows]  # of all rows, for there to be few shapes
        tokens = choose(logits_BV, open_rows, [len(longer[index]) for index in open_rows])
        for index, token in zip(open_rows, tokens, strict=True):
            longer[index].append(token)
        open_rows = [index for index in open_rows if longer[index][-1] not in ends]
        yield longer


def surprise(scorer: Scorer, tokenizer: Tokenizer, text: str) -> TextSurprise:
    """Return how surprised the model is at each token of `text`, read as a document from its start.

    A text longer than `seq_len` is read in windows that overlap by half, so that every token past the first window
    has at least seq_len // 2 tokens before it. The end of the document is not scored.
    Raises EvaluationError when the text is empty.
    """
    ids = [tokenizer.begin_id, *tokenizer.encode(text)]
    if len(ids) == 1:
        raise EvaluationError("the text is empty: there is nothing to be surprised at")
    bits: list[float] = []
    for start, stop in windows(len(ids) - 1, scorer.max_tokens):
        losses = scorer.target_losses(ids[start : stop + 1]) / math.log(2)
        bits += losses[len(bits) - start :].tolist()
    return TextSurprise(list(_whole_characters(tokenizer, ids[1:], bits)), math.fsum(bits) / len(text.encode()))


def _whole_characters(tokenizer: Tokenizer, ids: list[int], bits: list[float]) -> Iterator[TokenSurprise]:
    """Yield the tokens of a text with their bits, those that only together are a character as one."""
    decoder, text, sum_of_bits = codecs.getincrementaldecoder("utf-8")("replace"), "", 0.0
    for token, more in zip(ids, bits, strict=True):
        text, sum_of_bits = text + decoder.decode(tokenizer.token_bytes(token)), sum_of_bits + more
        if not decoder.getstate()[0]:
            yield TokenSurprise(text, sum_of_bits)
            text, sum_of_bits = "", 0.0


def token_text(tokenizer: Tokenizer, token: int) -> str:
    """Return a token as text: a special one by its name; bytes that are no whole character as U+FFFD."""
    names = {special: name for name, special in tokenizer.special.items()}
    return names.get(token) or tokenizer.token_bytes(token).decode("utf-8", errors="replace")


def windows(num_targets: int, seq_len: int) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of the inputs of each window, the last one full as well."""
    stride = max(1, seq_len // 2)
    stop = min(seq_len, num_targets)
    yield 0, stop
    while stop < num_targets:
        stop = min(stop + stride, num_targets)
        yield stop - seq_len, stop
