"""Every parameter starts here, by its name; a parameter without a rule is an error.

Random values depend on (seed, name) alone, so that any sharding, order or subset gives the same weights: a part of a
parameter is drawn with the whole and cut out of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from hashlib import blake2b

import torch
from torch import Tensor

from headwater.model.settings import ModelSettings
from headwater.model.transformer import Transformer

Part = tuple[slice, ...]
WHOLE: Part = ()
FirstValue = Callable[..., Tensor]
"(name, shape, part=…) -> what a parameter, or a part of it, starts from."
OpenFirst = Callable[[], AbstractContextManager[FirstValue]]
"Opens what a run starts from."


def initialise_(model: Transformer, seed: int) -> None:
    """Fill every parameter of `model` in place, and the buffers, which a model made by `to_empty` lacks, too.

    Matrices that read the residual stream: uniform with standard deviation 1/sqrt(fan in). Matrices that write to
    it (`out`, `down`): zero, so that every block starts as the identity (as in muP, arXiv:2203.03466, and
    nanochat). Embedding: normal, small where it is the head, too (`tied_deviation`). So the first loss is that of a
    uniform guess, in any family and at any width.
    """
    model.fill_buffers_()
    value = drawn(model.settings, seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(value(name, parameter.shape))


def drawn(model: ModelSettings, seed: int) -> FirstValue:
    """Return `initial_value` for the parameters of a model."""
    return partial(initial_value, seed=seed, tied=model.tied_embeddings)


def open_drawn(model: ModelSettings, seed: int) -> OpenFirst:
    return lambda: nullcontext(drawn(model, seed))


def initial_value(name: str, shape: Sequence[int], seed: int, *, tied: bool, part: Part = WHOLE) -> Tensor:
    """Return the start of the parameter `name` of `shape`, or of a part of it: the same bits as those in the whole.

    `tied` says whether the embedding is the head, too. Raises AssertionError for a parameter without a rule.
    """
    module, kind = name.split(".")[-2:]
    if kind == "bias" or module in ("out", "down"):
        return torch.zeros(shape)[part]
    if module.endswith("norm"):
        return torch.ones(shape)[part]
    generator = torch.Generator().manual_seed(derived_seed(seed, "init", name))
    if module in ("query", "key", "value", "gate", "up"):
        bound = math.sqrt(3 / shape[1])  # a uniform's standard deviation is bound / sqrt(3)
        return torch.empty(shape).uniform_(-bound, bound, generator=generator)[part]
    small = tied_deviation(shape[-1]) if tied else 0.02
    scale = {"embed": small if tied else 0.8, "positions": small, "head": 0.001}.get(module)
    if scale is None:
        raise AssertionError(f"no rule initialises the parameter {name}")
    return torch.empty(shape).normal_(0, scale, generator=generator)[part]


def tied_deviation(d_model: int) -> float:
    """Return the standard deviation at which an embedding starts that is the head, too.

    The blocks start as the identity, so the final norm hands on the token's own row at root mean square 1, and the
    head gives that token a logit of d_model × the deviation: 15 at GPT-2's 0.02 and width 768, where the model would be
    sure that each token follows itself (loss 15.4; GPT-2's own blocks start at random and drown the row). In inverse
    proportion to the width, as muP has for what maps to the vocabulary (arXiv:2203.03466), the logit is 2 at every
    width: 7 of the vocabulary's weights instead of 1. Positions are drawn alike, for the norm to see both.
    """
    return min(0.02, 2 / d_model)


def derived_seed(*parts: object) -> int:
    """Return a 63-bit seed for (seed, purpose, …): randomness is derived, never carried from step to step."""
    text = "\0".join(str(part) for part in parts)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little") >> 1
