"""Whether torch.compile works here, found out by compiling."""

from __future__ import annotations

import logging

import torch

from headwater.machine.device.flex import MIN_HEAD_DIM


def torch_compiles(device: torch.device, head_dim: int) -> tuple[bool, str]:
    """Return whether torch.compile works here for heads of `head_dim`, and a sentence that says why not."""
    if head_dim < MIN_HEAD_DIM:
        return False, (
            f"attention isn't compiled for heads of width {head_dim}, under {MIN_HEAD_DIM} (model.head_dim); running "
            "uncompiled, about half as fast"
        )
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
