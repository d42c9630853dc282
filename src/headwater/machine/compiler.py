"""Whether torch.compile works here, found out by compiling something tiny."""

from __future__ import annotations

import logging

import torch

from headwater.machine.settings import MachineSettings


def compiler_works(machine: MachineSettings, device: torch.device) -> tuple[bool, str]:
    """Return whether to compile, and a sentence that says why not.

    A compiler that is present may still lack Python's headers or OpenMP, so the only honest test is a compilation.
    """
    if machine.compile == "off":
        return False, "compilation is switched off (machine.compile)"
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
