"""What a run computes with here, as it was decided at its start."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
# what is multiplied to time each; torchao's scaled products can't be timed alone
PRODUCTS = DTYPES | {"int8": torch.int8, "float8": torch.bfloat16}
ACTIVATIONS = {"float8": "bfloat16", "int8": "bfloat16"}  # dtypes of matmuls alone, and that of all else


@dataclass(frozen=True)
class MachineFacts:
    """What decides the bits and the speed of a run here; kept in checkpoints, so that a resume computes the same."""

    device: str
    device_name: str
    dtype: str
    compiled: bool
    num_threads: int
    peak_flops_per_second: float
    torch_version: str
    note: str
    load: str | None = None  # what other processes took of the processor while the peak was measured
    dtype_why: str = ""
    rates: dict[str, float] = field(default_factory=dict)  # in FLOP/s, of one thread: of what it was chosen from

    def decisive(self) -> dict[str, Any]:
        """Return the facts that must be the same for a resume to give the same bits."""
        return {
            "device": self.device,
            "dtype": self.dtype,
            "compiled": self.compiled,
            "num_threads": self.num_threads,
            "torch_version": self.torch_version,
        }

    def utilisation(self, flops_per_second: float) -> float | None:
        """Return the fraction of the peak that a rate is.

        None where the peak was measured too low, under load or below the rate: a fraction of it would be too high.
        """
        is_too_low = self.load is not None or flops_per_second > self.peak_flops_per_second
        return None if is_too_low else flops_per_second / self.peak_flops_per_second

    @property
    def compute_dtype(self) -> torch.dtype:
        """The number format of activations."""
        return DTYPES[ACTIVATIONS.get(self.dtype, self.dtype)]

    @property
    def gather_dtype(self) -> torch.dtype:
        """What matrices are rounded to before any use; int8 and float8 find their scales in float32."""
        return DTYPES.get(self.dtype, torch.float32)

    @property
    def evaluation_dtype(self) -> str:
        """The number format of a pass without a gradient: int8 is training's alone."""
        return ACTIVATIONS["int8"] if self.dtype == "int8" else self.dtype

    @property
    def peak_dtype(self) -> str:
        """The dtype of the products that the peak was measured with."""
        return "bfloat16" if self.dtype == "float8" else self.dtype
