"""Linear maps in float8 by torchao: activations, weights and gradients are scaled and cast for each matrix product."""

from __future__ import annotations

import importlib.util

import torch
from torch import nn

from headwater.core.errors import ConfigError

MIN_CAPABILITY = (8, 9)  # the first GPUs with float8 products: Ada and Hopper


def require_float8(device: torch.device, compiled: bool) -> None:
    """Raise ConfigError, with what to do, where products in float8 don't run or would be slower than bfloat16's."""
    instead = "set machine.dtype to auto or bfloat16"
    if device.type != "cuda":
        raise ConfigError(f"machine.dtype is float8 and the device is a processor, which computes no float8; {instead}")
    capability = torch.cuda.get_device_capability(device)
    if capability < MIN_CAPABILITY:
        raise ConfigError(
            f"machine.dtype is float8 and {torch.cuda.get_device_name(device)} has compute capability "
            f"{capability[0]}.{capability[1]}; float8 needs {MIN_CAPABILITY[0]}.{MIN_CAPABILITY[1]}; {instead}"
        )
    if importlib.util.find_spec("torchao") is None:
        raise ConfigError(f"machine.dtype is float8 and torchao is missing: pip install 'headwater[fp8]', or {instead}")
    if not compiled:
        raise ConfigError(
            "machine.dtype is float8 and nothing is compiled here, which makes float8 slower than bfloat16 (nanochat "
            f"measured a quarter of the speed); set machine.compile to on to see what is missing, or {instead}"
        )


def convert_linears_(blocks: nn.Module, *, emulate: bool = False) -> None:
    """Replace each linear map in `blocks` whose sizes allow it; parameters keep their names and values.

    `emulate` computes what float8 would give by rounding, on any device: for tests.
    """
    from torchao.float8 import Float8LinearConfig, convert_to_float8_training

    convert_to_float8_training(blocks, config=Float8LinearConfig(emulate=emulate), module_filter_fn=_takes_float8)


def _takes_float8(module: nn.Module, name: str) -> bool:
    """Return whether a linear map's sizes are what the products need: multiples of 16."""
    return isinstance(module, nn.Linear) and all(size % 16 == 0 for size in module.weight.shape)
