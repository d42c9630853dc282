"""How a published run is laid over devices, and the software that runs it: what memory and time depend on.

The model of a cluster (this, `transformer`, `memory`, `compute`, `communication`, `efficiency`, `step_time`) lies here
until headwater trains over a mesh (docs/decisions/0038): `headwater.plan.forecast.device` plans for what it can run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from costing.transformer import Transformer
from headwater.core.errors import ConfigError

Sharding = Literal["none", "zero1", "zero2", "fsdp"]
Precision = Literal["bf16", "fp8", "fp8-rowwise", "fp4"]
"fp16 counts as bf16: the same bytes and the same rate."
Recompute = Literal["none", "selective", "full"]
Attention = Literal["unfused", "flash", "flash-2", "flash-3"]
"""Scores in memory; and flash attention: the first (arXiv:2205.14135), the second (arXiv:2307.08691), and one written
for Hopper and later (arXiv:2407.08608)."""
Kernels = Literal["eager", "fused", "compiled"]
"""How often the vectors of a token go through memory: one kernel an operation; norms, dropout and activations fused by
hand; fused by a compiler."""


@dataclass(frozen=True)
class Software:
    """What the training program does. The defaults are those of a current one."""

    attention: Attention = "flash-2"
    kernels: Kernels = "compiled"
    hides_tensor_traffic: bool = False
    "Whether tensor-parallel exchange runs beside the matrices (asynchronous tensor parallelism)."
    hides_data_traffic: bool = True
    "Whether gradients are reduced during the backward pass."
    uses_all_network_cards: bool = True
    "Whether a node's ranks send through all its network cards together."
    is_parallel_block: bool = False
    "Whether attention and MLP read the same norm, which halves tensor-parallel exchange."
    repeats_keys: bool = False
    "Whether context parallelism exchanges shared keys and values once for every query head."
    logit_bytes: float = 14.0
    "Bytes held together for one logit at the peak of the loss: bf16, fp32, its log-softmax and the gradient."


@dataclass(frozen=True)
class Layout:
    """Sizes of one step: rows, and over how many devices each kind of parallelism splits the model.

    `microbatch_rows` go forward together in a replica of the model. `virtual_stages` are the parts of the model that
    one device has in an interleaved pipeline. `data` is what is left of the devices.
    """

    num_devices: int
    batch_rows: int
    microbatch_rows: int
    tensor: int = 1
    pipeline: int = 1
    context: int = 1
    virtual_stages: int = 1
    sharding: Sharding = "fsdp"
    recompute: Recompute = "none"
    recomputed_layers: float = 1.0
    "Part of the layers that `recompute` is applied to."
    keeps_half_the_matmuls: bool = False
    "With recompute selective: every second matrix product is computed again, besides all that is no product."
    precision: Precision = "bf16"
    software: Software = Software()

    @property
    def is_flash(self) -> bool:
        return self.software.attention != "unfused"

    @property
    def data(self) -> int:
        return self.num_devices // (self.tensor * self.pipeline * self.context)

    @property
    def num_microbatches(self) -> int:
        return self.batch_rows // (self.data * self.microbatch_rows)

    @property
    def num_shards(self) -> int:
        """Over how many devices weights, gradients and optimizer state are split, by `sharding`."""
        return self.data * self.context

    @property
    def forward_again(self) -> float:
        """Return how much of the layers' forward pass is computed a second time as a whole."""
        return self.recomputed_layers if self.recompute == "full" else 0.0

    def microbatch_tokens(self, seq_len: int) -> float:
        """Return the tokens of one forward pass on one tensor-parallel group."""
        return self.microbatch_rows * seq_len / self.context


def check_layout(layout: Layout, shape: Transformer) -> None:
    """Raise ConfigError when these devices can't hold this model so."""
    model_parallel = layout.tensor * layout.pipeline * layout.context
    degrees = f"tensor × pipeline × context = {layout.tensor} × {layout.pipeline} × {layout.context}"
    if min(layout.tensor, layout.pipeline, layout.context, layout.num_devices, layout.microbatch_rows) < 1:
        raise ConfigError("devices, degrees of parallelism and rows must be at least 1")
    if layout.num_devices % model_parallel:
        raise ConfigError(
            f"{layout.num_devices} devices can't be split by {degrees}; take a multiple of {model_parallel}"
        )
    if layout.pipeline * layout.virtual_stages > shape.num_layers:
        raise ConfigError(
            f"{shape.num_layers} layers are too few for {layout.pipeline} × {layout.virtual_stages} stages"
        )
    if shape.num_heads % layout.tensor:
        raise ConfigError(f"{shape.num_heads} heads can't be split over {layout.tensor} tensor-parallel devices")
    rows = layout.data * layout.microbatch_rows
    if layout.batch_rows % rows:
        raise ConfigError(
            f"a batch of {layout.batch_rows} rows is no multiple of {layout.data} replicas × {layout.microbatch_rows} "
            f"rows; try {max(1, math.floor(layout.batch_rows / rows)) * rows}"
        )
