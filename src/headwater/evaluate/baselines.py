"""What simpler models make of the same text: a compressor and an n-gram model, in bits per byte.

A network that doesn't beat these has learnt nothing that matching and counting couldn't do.
"""

from __future__ import annotations

import lzma
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater.errors import EvaluationError

Ints = NDArray[Any]
Floats = NDArray[np.float64]
Stream = tuple[Ints, Ints]
"Token ids, and where each document starts followed by the number of tokens (as a token store keeps them)."

ORDER = 5
# What KenLM takes where a corpus is too small to estimate a discount from
FALLBACK_DISCOUNTS = np.array([0.0, 0.5, 1.0, 1.5])


def xz_bits_per_byte(texts: Iterable[bytes], num_bytes: int) -> float:
    """Return the bits per byte that `xz -9e` needs for the texts one after another.

    Raises EvaluationError when there is no text, or when it isn't `num_bytes` long: the baseline is worth something
    only on exactly the bytes that the model was scored on.
    """
    compressor = lzma.LZMACompressor(format=lzma.FORMAT_XZ, preset=9 | lzma.PRESET_EXTREME)
    num_read = num_compressed = 0
    for text in texts:
        num_read += len(text)
        num_compressed += len(compressor.compress(text))
    num_compressed += len(compressor.flush())
    if num_read != num_bytes:
        raise EvaluationError(f"xz was given {num_read} bytes of text and told {num_bytes}; give it the scored text")
    _require_bytes(num_bytes)
    return 8 * num_compressed / num_bytes


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
    for stream in held_out:
        tokens, _ = stream
        is_scored = (tokens != begin_id) & (tokens != end_id)
        nats += float(model.target_nats(stream)[is_scored].sum())
    return nats / (math.log(2) * num_bytes)


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
    discounted: Floats  # count less its discount, by n-gram
    context_counts: Floats  # sum of the counts, by context
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
        grams = np.zeros(len(tokens), np.int64)
        for length, order in enumerate(self._orders, 1):
            at = np.flatnonzero(positions >= length - 1)
            context = _contexts(grams, at, length)
            known = np.flatnonzero(context >= 0)
            at, context = at[known], context[known]
            rank = _find(order.keys, context * self._vocab_size + tokens[at])
            counted = np.where(rank >= 0, order.discounted[rank], 0.0)
            total = order.context_counts[context]
            # a context that nothing follows in training has no counts: the shorter one decides
            followed = total > 0
            mass = counted + order.context_backoff[context] * probability[at]
            probability[at[followed]] = mass[followed] / total[followed]
            grams = np.full(len(tokens), -1, np.int64)
            grams[at] = rank
        probability[positions == 0] = 1.0
        return -np.log(probability)

    def _join(self, streams: list[Stream]) -> tuple[Ints, Ints]:
        """Return all tokens, and the position of each in its document."""
        tokens = np.concatenate([np.empty(0, np.int64), *(tokens for tokens, _ in streams)])
        positions = np.concatenate([np.empty(0, np.int64), *(_positions(starts) for _, starts in streams)])
        if len(tokens) != len(positions):
            raise EvaluationError(f"the documents' starts cover {len(positions)} of {len(tokens)} tokens")
        if not np.array_equal(tokens == self._begin_id, positions == 0):
            raise EvaluationError(f"a document must begin with token {self._begin_id} and hold it nowhere else")
        if len(tokens) and not 0 <= tokens.min() <= tokens.max() < self._vocab_size:
            raise EvaluationError(f"a token is outside of 0 … {self._vocab_size - 1}; was another tokenizer used?")
        return tokens.astype(np.int64, copy=False), positions


def _positions(starts: Ints) -> Ints:
    starts = np.asarray(starts).astype(np.int64)
    return np.arange(starts[-1] if len(starts) else 0) - np.repeat(starts[:-1], np.diff(starts))


def _contexts(grams: Ints, at: Ints, length: int) -> Ints:
    """Return the numbers of the contexts of the n-grams that end at `at`: the shorter n-grams that end one before."""
    return np.zeros(len(at), np.int64) if length == 1 else grams[at - 1]


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
        longer_keys, rank, sample = _distinct(grams[at - 1] * vocab_size + tokens[at])
        left_neighbours = np.bincount(grams[at[sample]], minlength=len(keys))
        orders.append(_finish(keys, np.where(starts_document, counts, left_neighbours), vocab_size, num_contexts))
        num_contexts = len(keys)
        keys, counts = longer_keys, np.bincount(rank, minlength=len(longer_keys))
        starts_document = positions[at[sample]] == length - 1
        grams = np.full(len(tokens), -1, np.int64)
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
    rank = np.empty(len(keys), np.int64)
    rank[by_key] = np.cumsum(is_new) - 1
    return in_order[is_new], rank, by_key[is_new]


def _finish(keys: Ints, counts: Ints, vocab_size: int, num_contexts: int) -> _Order:
    discount = _discounts(counts)[np.minimum(counts, 3)]
    context = keys // vocab_size
    return _Order(
        keys,
        counts - discount,
        np.bincount(context, weights=counts, minlength=num_contexts).astype(np.float64, copy=False),
        np.bincount(context, weights=discount, minlength=num_contexts).astype(np.float64, copy=False),
    )


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
