"""How weights are updated. No torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from headwater.config import Settings


class OptimSettings(Settings):
    """Muon for the matrices of the blocks and AdamW for the rest, or AdamW for all."""

    name: Literal["muon", "adamw"] = "muon"
    "Rule for the blocks' matrices; embedding, head, norms and biases are always AdamW's."
    matrix_lr: float = Field(gt=0)
    "Peak learning rate of the blocks' matrices."
    embedding_lr: float = Field(gt=0)
    "Peak learning rate of the token and position embeddings."
    head_lr: float = Field(gt=0)
    "Peak learning rate of an untied head."
    vector_lr: float = Field(gt=0)
    "Peak learning rate of norms and biases."
    momentum: float = Field(default=0.95, ge=0, lt=1)
    "Muon's momentum (Nesterov); 0.95 as Jordan 2024."
    block_rows: int | None = Field(default=None, ge=8)
    "Muon makes blocks of at most this many rows of a matrix's shorter side orthogonal; off: the whole matrix."
    beta1: float = Field(default=0.8, ge=0, lt=1)
    "AdamW's decay of the mean gradient; 0.8 as nanochat, for embeddings that change fast."
    beta2: float = Field(default=0.95, ge=0, lt=1)
    "AdamW's decay of the mean squared gradient; 0.95 as GPT-3 (arXiv:2005.14165)."
    eps: float = Field(default=1e-10, gt=0)
    "Added to AdamW's root mean square; small, because rare tokens have small gradients."
    weight_decay: float = Field(ge=0)
    "Decoupled weight decay of the blocks' matrices, times the learning rate, scheduled with it."
    max_grad_norm: float | None = Field(default=1.0, gt=0)
    "Gradients are scaled down to this norm (1 as GPT-3); off: never."


class ScheduleSettings(Settings):
    """How the learning rate goes over the run, as a factor of each group's peak."""

    name: Literal["wsd", "cosine", "linear"] = "wsd"
    "wsd: warm-up, stable, linear decay (arXiv:2404.06395); cosine or linear: decay from the end of the warm-up."
    warmup_steps: int = Field(ge=0)
    "Steps of linear rise."
    decay_fraction: float = Field(default=0.5, gt=0, le=1)
    "wsd: share of the run in the final decay; half, as nanochat, because short runs gain from a long decay."
    final_fraction: float = Field(default=0.0, ge=0, le=1)
    "Factor that is reached at the last step; 0 (arXiv:2502.15938)."
