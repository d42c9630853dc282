"""What hardware a run may use. No torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from headwater.core.config import Settings


class MachineSettings(Settings):
    """The device and how it computes; `auto` is decided by measurement at the start of a run and then kept."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    "Where the model runs; auto: a GPU where there is one."
    dtype: Literal["auto", "float32", "bfloat16", "float8", "int8"] = "auto"
    """Number format of activations and products; weights are kept in float32. auto: the fastest here, int8 where its
    products run at 1.5 times bfloat16's rate or more."""
    compile: Literal["auto", "on", "off"] = "auto"
    "Compile for this machine (kernels on a processor, torch.compile on a GPU); auto: where a C++ compiler works."
    deterministic: bool = True
    """The same bits again from the same checkpoint; false lets a GPU take faster algorithms. A replay needs it, and so
    does a resume that is to change nothing."""
    num_threads: int | None = Field(default=None, ge=1)
    """CPU threads; unset: one for every physical core this process may use. OMP_NUM_THREADS doesn't change it: torchrun
    sets that to 1 unasked."""


MEASURING = "measuring this machine; where its kernels aren't compiled yet, that takes a minute or two more"

FORMATS = {
    "float32": "float32 throughout",
    "bfloat16": "bfloat16 products and activations, float32 weights and sums",
    "int8": "int8 products in blocks but weight gradients, with VNNI logits; bfloat16 all else; float32 weights",
    "float8": "float8 products in the blocks, bfloat16 everything else; float32 weights",
}
"What a run computes in, by `dtype` as it was decided: for cards of runs and of models."
