"""Log-probabilities of continuations: the one thing that choices and probes need of a model.

Rows of ids become tensors of few different shapes: a processor compiles its matrix products for every number of tokens
that it meets, and keeps them, about half a megabyte a weight matrix. Prompts at their own lengths once took more memory
than the weights of their model (docs/log.md, 2026-11-25, Memory of a whole run).

B batch · T time · D model width · V vocabulary
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from headwater.model.loss import NO_TARGET
from headwater.model.transformer import Transformer

BATCH_TOKENS = 4096  # of one forward pass; without a gradient it holds about what a training step of 2048 does
LEAST_TOKENS = 8  # prompts and choices of the probes have 8 to 16: filled up to 32, probes took 2.5 times as long
PADDING_DOCUMENT = -1


def rounded(number: int, least: int = 1) -> int:
    """Return the smallest power of two that is at least `number` and `least`, itself a power of two."""
    return max(least, 1 << (number - 1).bit_length())


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


class ModelScorer:
    """Score with a model in memory; prompts begin with the begin token, which the caller puts there."""

    def __init__(self, model: Transformer) -> None:
        self._model = model
        self._device = model.embed.weight.device
        self._max_tokens = model.settings.seq_len

    @torch.inference_mode()
    def loglikelihood(self, pairs: Sequence[tuple[list[int], list[int]]]) -> np.ndarray:
        """Return log p(continuation | prompt), in nats, of each (prompt ids, continuation ids)."""
        scores = np.zeros(len(pairs))
        for indices in self._batches([len(prompt) + len(rest) - 1 for prompt, rest in pairs]):
            rows = [(pairs[i][0] + pairs[i][1], len(pairs[i][1])) for i in indices]
            scores[indices] = -self._continuation_losses(rows)
        return scores

    @torch.inference_mode()
    def next_log_probabilities(self, prompts: Sequence[list[int]]) -> np.ndarray:
        """Return log p(next token | prompt) of every token: (number of prompts, V) in nats."""
        results = np.zeros((len(prompts), self._model.settings.vocab_size), dtype=np.float32)
        for indices in self._batches([len(prompt) for prompt in prompts]):
            tokens_BT, documents_BT = padded_rows([prompts[i] for i in indices], self._max_tokens, self._device)
            x_BTD = self._model.hidden(tokens_BT, documents_BT)
            last_B = torch.zeros(len(tokens_BT), dtype=torch.int64)
            last_B[: len(indices)] = torch.tensor([min(len(prompts[i]), self._max_tokens) - 1 for i in indices])
            x_BD = x_BTD[torch.arange(len(tokens_BT), device=self._device), last_B.to(self._device)]
            log_p = torch.log_softmax(self._model.logits(x_BD), dim=-1)
            results[indices] = log_p[: len(indices)].cpu().numpy()
        return results

    def _continuation_losses(self, rows: list[tuple[list[int], int]]) -> np.ndarray:
        # a row that is too long loses its beginning, never its continuation
        kept = [(ids[-(self._max_tokens + 1) :], length) for ids, length in rows]
        tokens_BT, documents_BT = padded_rows([ids[:-1] for ids, _ in kept], self._max_tokens, self._device)
        targets = np.full(tuple(tokens_BT.shape), NO_TARGET, dtype=np.int64)
        for row, (ids, length) in enumerate(kept):
            length = min(length, len(ids) - 1)
            targets[row, len(ids) - 1 - length : len(ids) - 1] = ids[len(ids) - length :]
        targets_BT = torch.from_numpy(targets).to(self._device)
        x_BTD = self._model.hidden(tokens_BT, documents_BT)
        scored_BT = targets_BT != NO_TARGET
        losses = torch.zeros(targets_BT.shape, device=self._device)
        losses[scored_BT] = self._token_losses(x_BTD[scored_BT], targets_BT[scored_BT])
        return losses[: len(rows)].double().sum(-1).cpu().numpy()

    def _token_losses(self, x_ND: Tensor, targets_N: Tensor) -> Tensor:
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
            width = padded_width(lengths[index], self._max_tokens)
            if batches and rounded(len(batches[-1]) + 1) * width <= BATCH_TOKENS:
                batches[-1].append(index)
            else:
                batches.append([index])
        return batches
