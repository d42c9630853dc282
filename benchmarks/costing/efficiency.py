"""The measured part of the time model: how much of a data sheet's rates software reaches. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from costing.layout import Attention

BY_ARCHITECTURE = ("ampere", "hopper")
"Architectures with efficiencies of their own; volta takes ampere's, everything newer hopper's."
OLDER = {"volta": "ampere", "tpu": "ampere"}
HOPPER_FLASH_GAIN = 1.6
"""Published, not fitted: 1.5 to 2 times the second flash attention forward, 1.5 to 1.75 times backward, which is the
longer (arXiv:2407.08608, section 4)."""


@dataclass(frozen=True)
class Efficiency:
    """Parts of the data sheet's rates, the gain of one kernel on another, the latency of a hop in seconds.

    `constants` has matmul_ampere, matmul_hopper, matmul_fp8, matmul_fp8_rowwise, attention_ampere, attention_hopper,
    second_flash_gain, memory, links, network, overlap, hop_seconds. The fp8 ones are parts of what bf16 reaches.
    """

    constants: Mapping[str, float]

    def matmul(self, architecture: str, precision: str) -> float:
        """Return the part of the peak at that precision that large matrix products reach."""
        part = self.constants[f"matmul_{_known(architecture)}"]
        if precision == "bf16":
            return part
        return part * self.constants["matmul_fp8_rowwise" if precision == "fp8-rowwise" else "matmul_fp8"]

    def attention(self, architecture: str, kernel: Attention) -> float:
        """Return the part of the bf16 peak that attention's core reaches on what it computes.

        The first flash attention on each architecture, what the second gains on it, and the third on that.
        """
        gain = self.constants["second_flash_gain"] if kernel in ("flash-2", "flash-3") else 1.0
        gain *= HOPPER_FLASH_GAIN if kernel == "flash-3" else 1.0
        return self.constants[f"attention_{_known(architecture)}"] * gain


def _known(architecture: str) -> str:
    if architecture in BY_ARCHITECTURE:
        return architecture
    return OLDER.get(architecture, "hopper")
