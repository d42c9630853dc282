"""What simpler models make of the same text: a compressor and an n-gram model, in bits per byte.

A network that doesn't beat these has learned nothing that matching and counting couldn't do. Both read a bounded
sample, so that time and memory don't grow with the corpus: about 20 seconds and 1.1 GB at most (docs/log.md).
"""

from __future__ import annotations

import lzma
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater.core.errors import EvaluationError
from headwater.tokens.read import TokenStore
from headwater.tokens.tokenizer.tokenizer import Tokenizer

Ints = NDArray[Any]
Floats = NDArray[np.float64]
Stream = tuple[Ints, Ints]
"Token ids, and where each document starts followed by the number of tokens (as a token store keeps them)."

MAX_COUNTED_TOKENS = 10_000_000
MAX_SCORED_BYTES = 16_000_000
LEAST_LINE_BYTES = 40  # a shorter line may stand anywhere by chance
SCORED_AT_ONCE = 1_000_000  # tokens: each takes about 60 bytes
ORDER = 5
# What KenLM takes where a corpus is too small to estimate a discount from
FALLBACK_DISCOUNTS = np.array([0.0, 0.5, 1.0, 1.5])


def measure_baselines(
    training: list[TokenStore], held_out: list[TokenStore], tokenizer: Tokenizer
) -> tuple[dict[str, float], dict[str, int]]:
    """Return bits per byte of `xz -9e` and of a 5-gram model on held-out text, and how much text they read.

    The 5-gram model counts at most MAX_COUNTED_TOKENS of `training`; both score at most MAX_SCORED_BYTES of `held_out`.
    Nothing where one of the two is missing.
    """
    if not (training and held_out):
        return {}, {}
    num_bytes = sum(store.num_bytes for store in held_out)
    scored = [sample(store, MAX_SCORED_BYTES / num_bytes) for store in held_out]
    bits, read = baselines_of_streams(training, scored, tokenizer)
    return bits, read | {"of_bytes": num_bytes}


def baselines_of_streams(
    training: list[TokenStore], scored: list[Stream], tokenizer: Tokenizer
) -> tuple[dict[str, float], dict[str, int]]:
    """Return the same, but the size of the held-out text, where that is at hand as tokens and all of it is scored."""
    num_tokens = sum(store.num_tokens for store in training)
    counted = [sample(store, MAX_COUNTED_TOKENS / num_tokens) for store in training]
    vocab_size, begin_id, end_id = tokenizer.vocab_size, tokenizer.begin_id, tokenizer.end_id
    text = b"".join(tokenizer.decode_bytes(tokens.tolist()) for tokens, _ in scored)
    lines = repeated_lines(counted, scored, tokenizer)
    if begin_id == end_id:  # the tokenizer of a base may have one for both
        end_id, vocab_size = vocab_size, vocab_size + 1
        counted, scored = ([with_end(*stream, begin_id, end_id) for stream in each] for each in (counted, scored))
    bits = {
        "xz": xz_bits_per_byte(text),
        "ngram5": ngram_bits_per_byte(counted, scored, len(text), vocab_size, begin_id, end_id),
    }
    read = {"counted_tokens": sum(len(tokens) for tokens, _ in counted), "of_tokens": num_tokens}
    return bits, {**read, "scored_bytes": len(text), **lines}


def sample(store: TokenStore, share: float) -> Stream:
    """Return about this share of a store, never more: documents evenly spaced over it, all of them from 1 on.

    Where a few documents hold most of the text, the one that would exceed the share is cut.
    """
    every = max(1, math.ceil(1 / share))
    first, ends = (starts.astype(np.int64) for starts in (store.starts[:-1:every], store.starts[1::every]))
    starts = np.minimum(np.cumsum(np.append(0, ends - first)), math.ceil(min(1.0, share) * store.num_tokens))
    at = np.arange(starts[-1]) + np.repeat(first - starts[:-1], np.diff(starts))
    return store.gather(at), starts


def repeated_lines(counted: list[Stream], scored: list[Stream], tokenizer: Tokenizer) -> dict[str, int]:
    """Return how many lines are scored, and how many of them stand in the text that is counted, too."""
    held_out = list(_lines(scored, tokenizer))
    unseen = set(held_out)
    unseen.difference_update(_lines(counted, tokenizer))
    return {"scored_lines": len(held_out), "repeated_lines": sum(line not in unseen for line in held_out)}


def _lines(streams: list[Stream], tokenizer: Tokenizer) -> Iterator[bytes]:
    for tokens, starts in streams:
        for start, end in pairwise(starts.tolist()):
            lines = tokenizer.decode_bytes(tokens[start:end].tolist()).split(b"\n")
            yield from (line for line in lines if len(line) >= LEAST_LINE_BYTES)


def with_end(tokens: Ints, starts: Ints, begin_id: int, end_id: int) -> Stream:
    """Return a stream with `end_id` where the begin token stands and no document begins."""
    is_end = tokens == begin_id
    is_end[starts[:-1]] = False
    return np.where(is_end, end_id, tokens.astype(np.int32)), starts


def xz_bits_per_byte(text: bytes) -> float:
    """Return the bits per byte that `xz -9e` needs for the text; raise EvaluationError when there is none."""
    _require_bytes(len(text))
    return 8 * len(lzma.compress(text, preset=9 | lzma.PRESET_EXTREME)) / len(text)


def ngram_bits_per_byte(
    train: list[Stream], held_out: list[Stream], num_bytes: int, vocab_size: int, begin_id: int, end_id: int
) -> float:
    """Return the bits per byte of a 5-gram model, counted on `train`, for the held-out tokens.

    `num_bytes` is the UTF-8 length of the held-out text. The end of a document is predicted (it takes probability
    away from other tokens) and isn't scored, as in the model's own bits per byte.
    Raises EvaluationError when there is nothing to count or nothing to score.
    """
    _require_bytes(num_bytes)
    model = KneserNey(train, vocab_size, begin_id)
    nats = 0.0
    for piece in (piece for stream in held_out for piece in _pieces(*stream)):
        is_scored = (piece[0] != begin_id) & (piece[0] != end_id)
        nats += float(model.target_nats(piece)[is_scored].sum())
    return nats / (math.log(2) * num_bytes)


def _pieces(tokens: Ints, starts: Ints) -> Iterator[Stream]:
    """Yield a stream in parts of at most SCORED_AT_ONCE tokens, or of one longer document."""
    starts, first = starts.astype(np.int64), 0
    while first + 1 < len(starts):
        last = max(first + 1, int(np.searchsorted(starts, starts[first] + SCORED_AT_ONCE, side="right")) - 1)
        yield tokens[starts[first] : starts[last]], starts[first : last + 1] - starts[first]
        first = last


def _require_bytes(num_bytes: int) -> None:
    if num_bytes <= 0:
        raise EvaluationError("the held-out text is empty: there is nothing to measure bits per byte on")


@dataclass(frozen=True)
class _Order:
    """The n-grams of one length by key, and what each of their contexts leaves to the next shorter length.

    The key of an n-gram is (number of its context) × vocab_size + (its last token), and the number of a context is
    the rank of that (n-1)-gram among the keys of its own length: keys fit in 64 bits for any vocabulary.
    """

    keys: Ints  # sorted
    counts: Ints  # by n-gram
    discounts: Floats  # of a count of 0, 1, 2, and 3 or more
    context_counts: Ints  # sum of the counts, by context
    context_backoff: Floats  # sum of the discounts, by context


class KneserNey:
    """An n-gram model with interpolated modified Kneser-Ney smoothing (Chen and Goodman 1998, TR-10-98, Harvard).

    It was the best of all smoothings compared there: the baseline is no straw man. Contexts don't cross documents.
    An n-gram that starts with the begin token has nothing to its left, so below the highest order it keeps its plain
    count, where others count their distinct left neighbours. The shortest n-grams are interpolated with a uniform
    distribution over all tokens but the begin token, which is never predicted.
    """

    def __init__(self, train: list[Stream], vocab_size: int, begin_id: int, order: int = ORDER) -> None:
        """Count the n-grams of `train`; raises EvaluationError when there is no token to count."""
        self._vocab_size = vocab_size
        self._begin_id = begin_id
        tokens, positions = self._join(train)
        if not positions.any():
            raise EvaluationError("there is no training token to count n-grams of; train on at least one document")
        self._orders = _count(tokens, positions, vocab_size, order)

    def target_nats(self, stream: Stream) -> Floats:
        """Return -log p of each token, given the tokens before it in its document; 0 for begin tokens."""
        tokens, positions = self._join([stream])
        probability = np.full(len(tokens), 1 / (self._vocab_size - 1))
        grams = np.zeros(len(tokens), np.int32)
        for length, order in enumerate(self._orders, 1):
            at = np.flatnonzero(positions >= length - 1)
            context = np.zeros(len(at), np.int32) if length == 1 else grams[at - 1]  # the n-gram that ends one before
            known = np.flatnonzero(context >= 0)
            at, context = at[known], context[known]
            rank = _find(order.keys, context.astype(np.int64) * self._vocab_size + tokens[at])
            count = np.where(rank >= 0, order.counts[rank], 0)
            counted = count - order.discounts[np.minimum(count, 3)]
            total = order.context_counts[context]
            # a context that nothing follows in training has no counts: the shorter one decides
            followed = total > 0
            mass = counted + order.context_backoff[context] * probability[at]
            probability[at[followed]] = mass[followed] / total[followed]
            grams = np.full(len(tokens), -1, np.int32)
            grams[at] = rank
        probability[positions == 0] = 1.0
        return -np.log(probability)

    def _join(self, streams: list[Stream]) -> tuple[Ints, Ints]:
        """Return all tokens, and the position of each in its document."""
        tokens = np.concatenate(
            [np.empty(0, np.int32), *(tokens.astype(np.int32, copy=False) for tokens, _ in streams)]
        )
        positions = np.concatenate([np.empty(0, np.int32), *(_positions(starts) for _, starts in streams)])
        if len(tokens) != len(positions):
            raise EvaluationError(f"the documents' starts cover {len(positions)} of {len(tokens)} tokens")
        if not np.array_equal(tokens == self._begin_id, positions == 0):
            raise EvaluationError(f"a document must begin with token {self._begin_id} and hold it nowhere else")
        if len(tokens) and not 0 <= tokens.min() <= tokens.max() < self._vocab_size:
            raise EvaluationError(f"a token is outside of 0 … {self._vocab_size - 1}; was another tokenizer used?")
        return tokens, positions


def _positions(starts: Ints) -> Ints:
    starts = np.asarray(starts).astype(np.int32)
    positions = np.arange(starts[-1] if len(starts) else 0, dtype=np.int32)
    positions -= np.repeat(starts[:-1], np.diff(starts))
    return positions


def _find(keys: Ints, wanted: Ints) -> Ints:
    """Return the rank of each wanted key, -1 where there is none."""
    rank = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[rank] == wanted, rank, -1)


def _count(tokens: Ints, positions: Ints, vocab_size: int, order: int) -> list[_Order]:
    """Return the counts of the n-grams of every length up to `order`.

    The counts of one length need the n-grams of the next, so each is finished one turn later. Every token has a
    1-gram, seen or not, so that its rank is its id.
    """
    orders = []
    keys: Ints = np.arange(vocab_size)
    grams, num_contexts = tokens, 1
    counts: Ints = np.zeros(vocab_size, np.int64)  # the plain ones: below the highest order only used after begin
    starts_document = np.zeros(vocab_size, bool)
    for length in range(2, order + 1):
        at = np.flatnonzero(positions >= length - 1)
        if not len(at):
            break  # no document is that long
        longer_keys, rank, example = _distinct(grams[at - 1].astype(np.int64) * vocab_size + tokens[at])
        left_neighbours = np.bincount(grams[at[example]], minlength=len(keys))
        orders.append(_finish(keys, np.where(starts_document, counts, left_neighbours), vocab_size, num_contexts))
        num_contexts = len(keys)
        keys, counts = longer_keys, np.bincount(rank, minlength=len(longer_keys))
        starts_document = positions[at[example]] == length - 1
        grams = np.full(len(tokens), -1, np.int32)
        grams[at] = rank
    return [*orders, _finish(keys, counts, vocab_size, num_contexts)]


def _distinct(keys: Ints) -> tuple[Ints, Ints, Ints]:
    """Return the sorted distinct keys, the rank of every key among them, and an index where each occurs.

    np.unique, but for the stable sort that it uses to find the first index: any index will do.
    """
    by_key = np.argsort(keys)
    in_order = keys[by_key]
    is_new = np.ones(len(keys), bool)
    is_new[1:] = in_order[1:] != in_order[:-1]
    del keys
    rank = np.empty(len(by_key), np.int32)
    rank[by_key] = np.cumsum(is_new, dtype=np.int32) - 1
    return in_order[is_new], rank, by_key[is_new]


def _finish(keys: Ints, counts: Ints, vocab_size: int, num_contexts: int) -> _Order:
    discounts, context = _discounts(counts), keys // vocab_size
    totals = np.bincount(context, weights=counts, minlength=num_contexts)
    backoff = np.bincount(context, weights=discounts[np.minimum(counts, 3)], minlength=num_contexts)
    return _Order(keys, counts.astype(np.int32), discounts, totals.astype(np.int32), backoff.astype(np.float64))


def _discounts(counts: Ints) -> Floats:
    """Return what is taken from a count of 0, 1, 2, and 3 or more, as Chen and Goodman estimate it.

    Where a corpus is too small to estimate them, or they would leave nothing to unseen tokens, the fixed ones.
    """
    n = np.bincount(np.minimum(counts, 5), minlength=6).astype(float)
    if not n[1:5].all():
        return FALLBACK_DISCOUNTS
    y = n[1] / (n[1] + 2 * n[2])
    discounts = np.array([0.0, *(size - (size + 1) * y * n[size + 1] / n[size] for size in (1, 2, 3))])
    return discounts if (discounts[1:] > 0).all() else FALLBACK_DISCOUNTS
