"""Next-token loss in chunks of tokens: the full matrix of logits is never held.

N tokens · D model width · V vocabulary
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

NO_TARGET = -1  # as batches.assemble has it; neither package imports the other
CHUNK_TOKENS = 2048  # logits of one chunk at a vocabulary of 32768 in bf16: 128 MB


def chunk_loss(x_ND: Tensor, weight_VD: Tensor, targets_N: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the summed loss of a chunk and its gradients with respect to `x_ND` and `weight_VD`."""
    logits_NV = (x_ND @ weight_VD.T).float()
    log_sum_N = torch.logsumexp(logits_NV, dim=-1)
    has_target_N = targets_N != NO_TARGET
    safe_N = targets_N.clamp_min(0)
    picked_N = logits_NV.gather(-1, safe_N[:, None]).squeeze(-1)
    loss = torch.where(has_target_N, log_sum_N - picked_N, 0.0).sum()
    probabilities_NV = torch.exp(logits_NV - log_sum_N[:, None])
    vocabulary = torch.arange(weight_VD.shape[0], device=x_ND.device)
    error_NV = error_of(probabilities_NV, vocabulary == safe_N[:, None], has_target_N).to(x_ND.dtype)
    return loss, error_NV @ weight_VD, error_NV.T @ x_ND


def error_of(probabilities_NV: Tensor, is_target_NV: Tensor, has_target_N: Tensor) -> Tensor:
    """Return the gradient of the summed loss with respect to logits."""
    return torch.where(has_target_N[:, None], probabilities_NV - is_target_NV.float(), 0.0)


class _NextTokenLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, chunk: Any) -> Tensor:
        weight = weight_VD.to(x_ND.dtype)
        loss = x_ND.new_zeros((), dtype=torch.float32)
        grad_x, grad_weight = torch.empty_like(x_ND), torch.zeros_like(weight_VD)
        for start in range(0, x_ND.shape[0], CHUNK_TOKENS):
            part = slice(start, start + CHUNK_TOKENS)
            chunk_sum, grad_x[part], chunk_weight = chunk(x_ND[part], weight, targets_N[part])
            loss += chunk_sum
            grad_weight += chunk_weight
        ctx.save_for_backward(grad_x, grad_weight)
        return loss

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor, None, None]:
        grad_x, grad_weight = ctx.saved_tensors
        # the factor stays in fp32, so that 1 / num_targets isn't rounded; of no dimension, it leaves dtypes as they are
        return grad_x * grad_outputs[0], grad_weight * grad_outputs[0], None, None


def next_token_loss(x_BTD: Tensor, weight_VD: Tensor, targets_BT: Tensor, chunk: Any = chunk_loss) -> Tensor:
    """Return the sum of -log p(target) over all targets, in fp32; a target of -1 does not count.

    The gradient is computed beside the loss, chunk by chunk, and only scaled in the backward pass: one matmul for
    the logits and two for the gradients, as without chunks. `chunk` is `chunk_loss` or a compiled form of it.
    """
    x_ND = x_BTD.flatten(0, -2)
    return _NextTokenLoss.apply(x_ND, weight_VD, targets_BT.flatten(), chunk)


class NextTokenLoss(nn.Module):
    """The last layer of a model: hidden states (B, T, D), the head's matrix (V, D) and targets (B, T) to a loss.

    `chunk` is `chunk_loss` or a compiled form of it.
    """

    def __init__(self, chunk: Any = chunk_loss) -> None:
        super().__init__()
        self.chunk = chunk

    def forward(self, x_BTD: Tensor, weight_VD: Tensor, targets_BT: Tensor) -> Tensor:
        """Return the sum of -log p(target) over all targets, in fp32; a target of -1 does not count."""
        return next_token_loss(x_BTD, weight_VD, targets_BT, self.chunk)

    def of_tokens(self, x_BTD: Tensor, weight_VD: Tensor, targets_BT: Tensor) -> Tensor:
        """Return -log p(target) of every token in fp32, 0 where there is no target; without a gradient."""
        return token_losses(x_BTD, weight_VD, targets_BT)


def token_losses(x_BTD: Tensor, weight_VD: Tensor, targets_BT: Tensor) -> Tensor:
    """Return -log p(target) of every token (B, T) in fp32, 0 where there is no target; for evaluation, no gradient."""
    x_ND, targets_N = x_BTD.flatten(0, -2), targets_BT.flatten()
    weight = weight_VD.to(x_ND.dtype)
    parts = []
    for start in range(0, x_ND.shape[0], CHUNK_TOKENS):
        logits = (x_ND[start : start + CHUNK_TOKENS] @ weight.T).float()
        targets = targets_N[start : start + CHUNK_TOKENS]
        parts.append(torch.nn.functional.cross_entropy(logits, targets, ignore_index=NO_TARGET, reduction="none"))
    return torch.cat(parts).view(targets_BT.shape)
