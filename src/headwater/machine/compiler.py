"""Whether code can be compiled for this device, found out by compiling: kernels, or torch.compile on a GPU."""

from __future__ import annotations

import logging

import torch

from headwater.machine.kernels.library import MAX_HEAD_DIM, KernelError, load_kernels
from headwater.machine.settings import MachineSettings


def compiler_works(machine: MachineSettings, device: torch.device, head_dim: int = 1) -> tuple[bool, str]:
    """Return whether to compile for a model with heads of `head_dim`, and a sentence that says why not.

    A compiler that is present may still lack headers or OpenMP, so the only honest test is a compilation.
    """
    if machine.compile == "off":
        return False, "compilation is switched off (machine.compile)"
    return _kernels_work(head_dim) if device.type == "cpu" else _torch_compiles(device)


def _kernels_work(head_dim: int) -> tuple[bool, str]:
    if head_dim > MAX_HEAD_DIM:
        return False, (
            f"no kernels for heads of width {head_dim}, over {MAX_HEAD_DIM} (model.head_dim); running PyTorch's own "
            "operations, more slowly"
        )
    try:
        load_kernels()
    except KernelError as error:
        return False, f"no kernels for this processor ({error}); running PyTorch's own operations, more slowly"
    return True, ""


def _torch_compiles(device: torch.device) -> tuple[bool, str]:
    logger = logging.getLogger("torch._inductor")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        torch.compile(_tiny, dynamic=False)(torch.ones(64, device=device))
    except Exception as error:  # torch raises many kinds here, none of them public
        why = telling_line(error)[:120]
        return False, f"torch.compile doesn't work here ({why}); running uncompiled, about half as fast"
    finally:
        logger.setLevel(level)
        torch._dynamo.reset()
    return True, ""


def telling_line(error: Exception) -> str:
    """Return the first line of an error's text that is more than the announcement of another ("… raised:")."""
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in lines if line and not line.endswith(":")), type(error).__name__)


def _tiny(x: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.silu(x) * 2
