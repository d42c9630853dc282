"""What all of evaluation asks of a model: log-probabilities and losses, computed by all ranks together.

Rows of ids become tensors of few different shapes: a processor compiles its matrix products for every number of tokens
that it meets, and keeps them, about half a megabyte a weight matrix. Prompts at their own lengths once took more memory
than the weights of their model (docs/log.md, 2026-11-25, Memory of a whole run).

B batch · T time · D model width · V vocabulary · N targets · M measures
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from headwater.machine.ranks.exchange import Ranks
from headwater.model.cache import Cache, rounded
from headwater.model.loss import NO_TARGET
from headwater.model.transformer import Transformer

T = TypeVar("T")
Forward = Callable[[Tensor, Tensor], Tensor]
"Hidden states of (tokens_BT, documents_BT), as a machine computes them."
Pair = tuple[list[int], list[int]]
"Ids of a prompt, and of a continuation."
Measure = Callable[[Tensor, Tensor], Tensor]
"A number (N) for each target, of the states (N, D) before them and the targets (N)."

BATCH_TOKENS = 4096  # of one forward pass; without a gradient it holds about what a training step of 2048 does
LEAST_TOKENS = 8  # prompts and choices of the probes have 8 to 16: filled up to 32, probes took 2.5 times as long
PADDING_DOCUMENT = -1


def padded_width(longest: int, max_tokens: int) -> int:
    """Return the tokens of a padded row whose own are `longest`; a model takes `max_tokens`."""
    return min(max_tokens, rounded(longest, LEAST_TOKENS))


def padded_rows(rows: Sequence[list[int]], max_tokens: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return (tokens_BT, documents_BT) of rows that begin at the left, of each its last `max_tokens` ids.

    The first rows are those given; they and the columns are filled up to a power of two with a document of their own.
    """
    width = padded_width(max(map(len, rows)), max_tokens)
    tokens = np.zeros((rounded(len(rows)), width), dtype=np.int64)
    documents = np.full(tokens.shape, PADDING_DOCUMENT, dtype=np.int64)
    for index, row in enumerate(rows):
        kept = row[-max_tokens:]
        tokens[index, : len(kept)] = kept
        documents[index, : len(kept)] = 0
    return torch.from_numpy(tokens).to(device), torch.from_numpy(documents).to(device)


class Scorer:
    """A model that all ranks score with together: each calls every method with the same arguments, and gets the same.

    They divide the forward passes among them, and each makes as many as any other, so that a model of which every rank
    holds a part can be scored with, too. Prompts begin with the begin token, which the caller puts there.
    """

    def __init__(self, model: Transformer, ranks: Ranks | None = None, forward: Forward | None = None) -> None:
        """`forward` is the pass to the hidden states as it is fastest here; None: as the model does it."""
        self._model, self._hidden = model, forward or model.hidden
        self._ranks = ranks or Ranks()
        self.device = model.device
        self.max_tokens = model.settings.seq_len

    def divided(
        self, items: Iterable[T], size_of: Callable[[T], int], compute: Callable[[T], np.ndarray]
    ) -> list[np.ndarray]:
        """Return what `compute` makes of each item, `size_of(item)` numbers in fp64, in the order of the items.

        A rank computes every so many-th of them; where none is left for it, another's, which then isn't counted. Each
        item is computed by the ranks that have the same rows: its bits are the same at any number of others.
        """
        rank, num_ranks = self._ranks.part_of_rows
        counted = rank if self._ranks.is_first_of_its_rows else None
        found: list[np.ndarray] = []
        remaining = iter(items)
        while taken := list(islice(remaining, num_ranks)):
            own = compute(taken[min(rank, len(taken) - 1)])
            found += [own if number == counted else np.zeros(size_of(item)) for number, item in enumerate(taken)]
        if not found:
            return []
        numbers = torch.from_numpy(np.concatenate(found, dtype=np.float64)).to(self.device)
        self._ranks.wait()  # for a rank that computes for longer than a step's exchange may take
        return np.split(self._ranks.sum_(numbers).cpu().numpy(), np.cumsum([len(part) for part in found])[:-1])

    @torch.no_grad()  # not inference mode: what `forward` compiles or keeps is used again in training
    def token_losses(self, tokens_BT: Tensor, documents_BT: Tensor, targets_BT: Tensor) -> Tensor:
        """Return -log p of each target in nats, 0 where there is none: one pass of this rank, for `divided`."""
        return self._model.token_losses(self._hidden(tokens_BT, documents_BT), targets_BT)

    @torch.no_grad()
    def loglikelihood(self, pairs: Sequence[Pair]) -> np.ndarray:
        """Return log p(continuation | prompt), in nats, of each pair."""
        return -self._continuation_sums(pairs, [self._losses_of])[0]

    @torch.no_grad()
    def loglikelihood_and_greedy(self, pairs: Sequence[Pair]) -> tuple[np.ndarray, np.ndarray]:
        """Return the same, and whether each token of the continuation is the likeliest where it stands."""
        losses, num_missed = self._continuation_sums(pairs, [self._losses_of, self._is_missed])
        return -losses, num_missed == 0

    @torch.no_grad()
    def next_log_probabilities(self, prompts: Sequence[list[int]], tokens: Sequence[Sequence[int]]) -> list[np.ndarray]:
        """Return, for each prompt, log p in nats of each of its `tokens` as the next one."""
        batches = self._batches([len(prompt) for prompt in prompts])

        def compute(batch: list[int]) -> np.ndarray:
            tokens_BT, documents_BT = padded_rows([prompts[i] for i in batch], self.max_tokens, self.device)
            last_B = torch.zeros(len(tokens_BT), dtype=torch.int64)
            last_B[: len(batch)] = torch.tensor([min(len(prompts[i]), self.max_tokens) - 1 for i in batch])
            x_BTD = self._hidden(tokens_BT, documents_BT)
            x_BD = x_BTD[torch.arange(len(tokens_BT), device=self.device), last_B.to(self.device)]
            log_p_BV = torch.log_softmax(self._model.logits(x_BD), dim=-1).cpu().numpy()
            return np.concatenate([log_p_BV[row, tokens[i]] for row, i in enumerate(batch)])

        found = self.divided(batches, lambda batch: sum(len(tokens[i]) for i in batch), compute)
        results = [np.empty(0)] * len(prompts)
        for batch, part in zip(batches, found, strict=True):
            ends = np.cumsum([len(tokens[i]) for i in batch])[:-1]
            for i, log_p in zip(batch, np.split(part, ends), strict=True):
                results[i] = log_p
        return results

    @torch.no_grad()
    def next_logits(self, ids: list[int]) -> Tensor:
        """Return the scores (V) of the token after `ids`, in fp32 on the CPU: of all ranks the first one's."""
        return self.next_logits_of([ids])[0]

    def growing(self) -> Callable[[list[list[int]]], Tensor]:
        """Return `next_logits_of` for rows that are longer at each call: what is new alone is computed.

        It is for one text: the weights don't change meanwhile. Of a model in parts, on several ranks, all is computed.
        """
        if self._ranks.world_size > 1:
            return self.next_logits_of
        cache = Cache(self._model)
        return lambda rows: cache.next_logits_of(rows).cpu()

    @torch.no_grad()
    def next_logits_of(self, rows: list[list[int]]) -> Tensor:
        """Return the same of several rows (B, V), all in one pass."""

        def compute(rows: list[list[int]]) -> np.ndarray:
            x_BTD = self._hidden(*padded_rows(rows, self.max_tokens, self.device))
            last_B = [min(len(ids), self.max_tokens) - 1 for ids in rows]
            return self._model.logits(x_BTD[range(len(rows)), last_B]).cpu().numpy().ravel()

        (found,) = self.divided([rows], lambda rows: len(rows) * self._model.settings.vocab_size, compute)
        return torch.from_numpy(found).float().view(len(rows), -1)

    @torch.no_grad()
    def target_losses(self, ids: list[int]) -> np.ndarray:
        """Return -log p of each of `ids` but the first, given those before it."""

        def compute(ids: list[int]) -> np.ndarray:
            row = torch.tensor([ids], device=self.device)
            tokens_BT, targets_BT = row[:, :-1], row[:, 1:]
            return self.token_losses(tokens_BT, torch.zeros_like(tokens_BT), targets_BT)[0].cpu().numpy()

        return self.divided([ids], lambda ids: len(ids) - 1, compute)[0]

    def _continuation_sums(self, pairs: Sequence[Pair], measures: Sequence[Measure]) -> np.ndarray:
        """Return the sum of each measure over each continuation, (measures, pairs)."""
        batches = self._batches([len(prompt) + len(rest) - 1 for prompt, rest in pairs])
        found = self.divided(
            batches,
            lambda batch: len(measures) * len(batch),
            lambda batch: self._sums_of_batch([pairs[i] for i in batch], measures).ravel(),
        )
        sums = np.zeros((len(measures), len(pairs)))
        for batch, part in zip(batches, found, strict=True):
            sums[:, batch] = part.reshape(len(measures), -1)
        return sums

    def _sums_of_batch(self, pairs: list[Pair], measures: Sequence[Measure]) -> np.ndarray:
        # a row that is too long loses its beginning, never its continuation
        kept = [((prompt + rest)[-(self.max_tokens + 1) :], len(rest)) for prompt, rest in pairs]
        tokens_BT, documents_BT = padded_rows([ids[:-1] for ids, _ in kept], self.max_tokens, self.device)
        targets = np.full(tuple(tokens_BT.shape), NO_TARGET, dtype=np.int64)
        for row, (ids, length) in enumerate(kept):
            length = min(length, len(ids) - 1)
            targets[row, len(ids) - 1 - length : len(ids) - 1] = ids[len(ids) - length :]
        targets_BT = torch.from_numpy(targets).to(self.device)
        x_BTD = self._hidden(tokens_BT, documents_BT)
        scored_BT = targets_BT != NO_TARGET
        values_MBT = torch.zeros(len(measures), *targets_BT.shape, device=self.device)
        for values_BT, measure in zip(values_MBT, measures, strict=True):
            values_BT[scored_BT] = measure(x_BTD[scored_BT], targets_BT[scored_BT])
        return values_MBT[:, : len(pairs)].double().sum(-1).cpu().numpy()

    def _is_missed(self, x_ND: Tensor, targets_N: Tensor) -> Tensor:
        """Return 1 for each target that isn't the likeliest token, 0 for the others."""
        return (self._model.logits(x_ND).argmax(-1) != targets_N).float()

    def _losses_of(self, x_ND: Tensor, targets_N: Tensor) -> Tensor:
        """Return the loss of each target, computed with others that are none, for there to be few shapes."""
        missing = rounded(len(targets_N), LEAST_TOKENS) - len(targets_N)
        x_ND = torch.nn.functional.pad(x_ND, (0, 0, 0, missing))
        targets_N = torch.nn.functional.pad(targets_N, (0, missing), value=NO_TARGET)
        return self._model.token_losses(x_ND, targets_N)[: len(targets_N) - missing]

    def _batches(self, lengths: list[int]) -> list[list[int]]:
        """Return indices in batches of similar length, none of more than BATCH_TOKENS tokens but for a long row."""
        order = sorted(range(len(lengths)), key=lambda index: lengths[index])
        batches: list[list[int]] = []
        for index in order:
            width = padded_width(lengths[index], self.max_tokens)
            if batches and rounded(len(batches[-1]) + 1) * width <= BATCH_TOKENS:
                batches[-1].append(index)
            else:
                batches.append([index])
        return batches
