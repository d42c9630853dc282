"""What hardware a run may use. No torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from headwater.config import Settings


class MachineSettings(Settings):
    """The device and how it computes; `auto` is decided by measurement at the start of a run and then kept."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    "Where the model runs; auto: a GPU where there is one."
    dtype: Literal["auto", "float32", "bfloat16", "float8", "int8"] = "auto"
    """Dtype of activations and matmuls; masters are float32. auto: the fastest here. float8 on a GPU and int8 on a
    processor are that of the blocks' matmuls alone, bfloat16 of all else."""
    compile: Literal["auto", "on", "off"] = "auto"
    "Compile for this machine (kernels on a processor, torch.compile on a GPU); auto: where a C++ compiler works."
    num_threads: int | None = Field(default=None, ge=1)
    """CPU threads; None: one for every physical core this process may use. OMP_NUM_THREADS doesn't change it: torchrun
    sets that to 1 unasked."""
