"""Log-probabilities of continuations: the one thing that choices, probes and harness tasks need of a model.

B batch · T time · D model width · V vocabulary
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from headwater.evaluate.rows import BATCH_TOKENS, LEAST_TOKENS, padded_rows, padded_width, rounded
from headwater.model.loss import NO_TARGET
from headwater.model.transformer import Transformer


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
            x_BTD = self._model(tokens_BT, documents_BT)
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
        x_BTD = self._model(tokens_BT, documents_BT)
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
