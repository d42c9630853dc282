"""Rotary positions: channel pair i of a head is turned by position × frequency i (arXiv:2104.09864).

B batch · T time · H heads · K head width · P channel pairs of a head (K/2)
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from headwater.model.settings import ModelSettings, RopeScaling


def rotary_table(model: ModelSettings, num_positions: int) -> Tensor:
    """Return cosines and sines, (2, T, P) in fp32; computed in fp64, where angles far out are still exact."""
    positions_T = torch.arange(num_positions, dtype=torch.float64)
    angles_TP = torch.outer(positions_T, frequencies(model))
    table_2TP = torch.stack([angles_TP.cos(), angles_TP.sin()])
    scaling = model.rope_scaling
    return (table_2TP if scaling is None else table_2TP * attention_factor(scaling)).float()


def rotate(x_BTHK: Tensor, table_2TP: Tensor) -> Tensor:
    """Turn channel pairs (i, i + K/2) by their position's angle: the half-split layout that Hugging Face models use.

    The table is one for all rows, or (2, B, T, P) where their positions differ.
    """
    cos, sin = table_2TP.unsqueeze(-2)
    first, second = x_BTHK.float().chunk(2, dim=-1)  # a bf16 table would turn by angles that are 0.4 % off
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1).to(x_BTHK.dtype)


def frequencies(model: ModelSettings) -> Tensor:
    """Return radians per position of each channel pair, (P) in fp64: theta^(-2i/K), or as `rope_scaling` changes it."""
    channels_P = torch.arange(0, model.head_dim, 2, dtype=torch.float64)
    plain_P = model.rope_theta ** (-channels_P / model.head_dim)
    scaling = model.rope_scaling
    if scaling is None:
        return plain_P
    kept_P = _kept_by_llama3(plain_P, scaling) if scaling.rope_type == "llama3" else _kept_by_yarn(model, scaling)
    return plain_P * (kept_P + (1 - kept_P) / scaling.factor)


def attention_factor(scaling: RopeScaling) -> float:
    """Return by what queries and keys are multiplied: yarn sharpens attention, 0.1 ln(factor) + 1 unless it is set."""
    if scaling.rope_type == "llama3":
        return 1.0
    return scaling.attention_factor or 0.1 * math.log(scaling.factor) + 1


def _kept_by_llama3(plain_P: Tensor, scaling: RopeScaling) -> Tensor:
    """Return how much of each frequency stays, 1 or 0 and between them linear in the turns over the original length.

    Llama 3.1 (arXiv:2407.21783; the formula is in Meta's published code).
    """
    turns_P = scaling.original_max_position_embeddings * plain_P / (2 * math.pi)
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    return ((turns_P - low) / (high - low)).clamp(0, 1)


def _kept_by_yarn(model: ModelSettings, scaling: RopeScaling) -> Tensor:
    """Return how much of each frequency stays, linear in the pair's number between two limits (arXiv:2309.00071).

    A pair that turns `beta_fast` times or more over the original length stays, one that turns `beta_slow` times or less
    is divided by the factor.
    """

    def pair_that_turns(times: float) -> float:
        wanted = scaling.original_max_position_embeddings / (2 * math.pi * times)
        return model.head_dim * math.log(wanted) / (2 * math.log(model.rope_theta))

    begin, end = pair_that_turns(scaling.beta_fast), pair_that_turns(scaling.beta_slow)
    if scaling.truncate:
        begin, end = math.floor(begin), math.ceil(end)
    begin, end = max(begin, 0), min(end, model.head_dim - 1)
    pairs_P = torch.arange(model.head_dim // 2, dtype=torch.float64)
    return 1 - ((pairs_P - begin) / max(end - begin, 0.001)).clamp(0, 1)
