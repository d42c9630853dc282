"""Every parameter starts here, by its name; a parameter without a rule is an error.

Random values depend on (seed, name) alone, so that any sharding, order or subset gives the same weights.
"""

from __future__ import annotations

import math
from hashlib import blake2b

import torch
from torch import Tensor, nn


def initialise_(model: nn.Module, seed: int) -> None:
    """Fill every parameter of `model` in place.

    Matrices that read the residual stream: uniform with standard deviation 1/sqrt(fan in). Matrices that write to
    it (`out`, `down`): zero, so that every block starts as the identity (as in muP, arXiv:2203.03466, and
    nanochat). Embedding: normal; tied to the head it must be small, for the first logits to be near zero.
    """
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(_initial_value(name, parameter, seed, tied=not hasattr(model, "head")))


def _initial_value(name: str, parameter: Tensor, seed: int, tied: bool) -> Tensor:
    module, kind = name.split(".")[-2:]
    if kind == "bias" or module in ("out", "down"):
        return torch.zeros_like(parameter)
    if module.endswith("norm"):
        return torch.ones_like(parameter)
    generator = torch.Generator().manual_seed(derived_seed(seed, "init", name))
    if module in ("query", "key", "value", "gate", "up"):
        bound = math.sqrt(3 / parameter.shape[1])  # a uniform's standard deviation is bound / sqrt(3)
        return torch.empty(parameter.shape).uniform_(-bound, bound, generator=generator)
    scale = {"embed": 0.02 if tied else 0.8, "positions": 0.02, "head": 0.001}.get(module)
    if scale is None:
        raise AssertionError(f"no rule initialises the parameter {name}")
    return torch.empty(parameter.shape).normal_(0, scale, generator=generator)


def derived_seed(*parts: object) -> int:
    """Return a 63-bit seed for (seed, purpose, …): randomness is derived, never carried from step to step."""
    text = "\0".join(str(part) for part in parts)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little") >> 1
