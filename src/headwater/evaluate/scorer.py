"""Log-probabilities of continuations: the one thing that choices, probes and harness tasks need of a model.

B batch · T time · D model width · V vocabulary
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from headwater.model.loss import NO_TARGET
from headwater.model.transformer import Transformer

BATCH_TOKENS = 8192  # tokens of one forward pass: a few MB of activations for a small model
PADDING_DOCUMENT = -1


class Scorer(Protocol):
    def loglikelihood(self, pairs: Sequence[tuple[list[int], list[int]]]) -> np.ndarray:
        """Return log p(continuation | prompt), in nats, of each (prompt ids, continuation ids)."""
        ...

    def next_log_probabilities(self, prompts: Sequence[list[int]]) -> np.ndarray:
        """Return log p(next token | prompt) of every token: (number of prompts, V) in nats."""
        ...


class ModelScorer:
    """Score with a model in memory; prompts begin with the begin token, which the caller puts there."""

    def __init__(self, model: Transformer) -> None:
        self._model = model
        self._device = model.embed.weight.device
        self._max_tokens = model.settings.seq_len

    @torch.inference_mode()
    def loglikelihood(self, pairs: Sequence[tuple[list[int], list[int]]]) -> np.ndarray:
        scores = np.zeros(len(pairs))
        for indices in _batches_by_length([len(prompt) + len(rest) - 1 for prompt, rest in pairs]):
            rows = [(pairs[i][0] + pairs[i][1], len(pairs[i][1])) for i in indices]
            scores[indices] = -self._continuation_losses(rows)
        return scores

    @torch.inference_mode()
    def next_log_probabilities(self, prompts: Sequence[list[int]]) -> np.ndarray:
        results = np.zeros((len(prompts), self._model.settings.vocab_size), dtype=np.float32)
        for indices in _batches_by_length([len(prompt) for prompt in prompts]):
            tokens_BT, documents_BT = self._padded([prompts[i] for i in indices])
            x_BTD = self._model.hidden(tokens_BT, documents_BT)
            last_B = torch.tensor([min(len(prompts[i]), self._max_tokens) - 1 for i in indices], device=self._device)
            x_BD = x_BTD[torch.arange(len(indices), device=self._device), last_B]
            results[indices] = torch.log_softmax(self._model.logits(x_BD), dim=-1).cpu().numpy()
        return results

    def _continuation_losses(self, rows: list[tuple[list[int], int]]) -> np.ndarray:
        # a row that is too long loses its beginning, never its continuation
        kept = [(ids[-(self._max_tokens + 1) :], length) for ids, length in rows]
        tokens_BT, documents_BT = self._padded([ids[:-1] for ids, _ in kept])
        targets = np.full(tokens_BT.shape, NO_TARGET, dtype=np.int64)
        for row, (ids, length) in enumerate(kept):
            length = min(length, len(ids) - 1)
            targets[row, len(ids) - 1 - length : len(ids) - 1] = ids[len(ids) - length :]
        targets_BT = torch.from_numpy(targets).to(self._device)
        x_BTD = self._model.hidden(tokens_BT, documents_BT)
        scored_BT = targets_BT != NO_TARGET
        losses = torch.zeros(targets_BT.shape, device=self._device)
        losses[scored_BT] = self._model.token_losses(x_BTD[scored_BT], targets_BT[scored_BT])
        return losses.double().sum(-1).cpu().numpy()

    def _padded(self, rows: list[list[int]]) -> tuple[Tensor, Tensor]:
        rows = [row[-self._max_tokens :] for row in rows]
        width = max(len(row) for row in rows)
        tokens = np.zeros((len(rows), width), dtype=np.int64)
        documents = np.full((len(rows), width), PADDING_DOCUMENT, dtype=np.int64)
        for index, row in enumerate(rows):
            tokens[index, : len(row)] = row
            documents[index, : len(row)] = 0
        return torch.from_numpy(tokens).to(self._device), torch.from_numpy(documents).to(self._device)


def _batches_by_length(lengths: list[int]) -> list[list[int]]:
    """Return indices in batches of similar length, each of about BATCH_TOKENS tokens."""
    order = sorted(range(len(lengths)), key=lambda index: lengths[index])
    batches: list[list[int]] = []
    for index in order:
        if batches and (len(batches[-1]) + 1) * lengths[index] <= BATCH_TOKENS:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches
