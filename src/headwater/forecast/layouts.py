"""The fastest way to lay one model over devices: those that headwater runs, or every layout of a grid. No torch.

A group holds what microbatch and recomputation leave alone: degrees of parallelism, sharding, precision.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from headwater.forecast.device import Device
from headwater.forecast.efficiency import Efficiency
from headwater.forecast.layout import HEADWATER, Layout, Precision, Sharding, needs
from headwater.forecast.memory import Memory, OptimizerName, estimate_memory
from headwater.forecast.shape import Shape
from headwater.forecast.time import step_seconds, step_work
from headwater.scaling.published import BATCH_PER_SQUARED_DOUBLING, MAX_FACTOR

MAX_MICROBATCH_TOKENS = 65_536
LONG_ROW = 8192
"Rows from this length on may be split over devices (context parallelism)."
MAX_PIPELINE, MAX_CONTEXT, MAX_PARTS = 64, 16, 4
LOSS_PER_LOG_TOKENS = 0.04
"By how much of its logarithm loss falls with that of tokens, about: what a regret of the batch is worth in time."
MARGIN = 0.07
"""How much faster, in log time, a layout must be for each kind of parallelism that splits the model: what the estimate
itself is off by (`spread` in efficiencies.json). Of what it can't tell apart the simpler is taken."""
RECOMPUTES = ("none", "half", "full")
"Nothing; every second product of the blocks and all that is no product; every block."
OWN_RECOMPUTES = ("none", "half the blocks", "full")
"What headwater's train.recompute_fraction can be here."


@dataclass(frozen=True)
class Task:
    """One model on some devices. `memory_bytes` is what a device may use, `wanted_rows` the batch of the rules.

    `update_flops` are those of Muon's products in a step, over all devices. With `all_layouts` the grid holds layouts
    that headwater can't run today (`layout.needs`), too.
    """

    shape: Shape
    device: Device
    num_devices: int
    wanted_rows: float
    memory_bytes: float
    precision: Precision = "bf16"
    optimizer: OptimizerName = "muon"
    update_flops: float = 0.0
    all_layouts: bool = False

    @property
    def recomputes(self) -> tuple[str, ...]:
        return RECOMPUTES if self.all_layouts else OWN_RECOMPUTES

    def update_seconds(self, efficiency: Efficiency) -> float:
        """Return the time of Muon's products in a step: each device orthogonalises its share of the matrices."""
        rate = self.device.bf16_flops * efficiency.matmul(self.device.architecture, "bf16")
        return self.update_flops / self.num_devices / rate


@dataclass(frozen=True)
class LayoutEstimate:
    """A layout that fits, its seconds a token over all devices, its peak, and the batch over the wanted one."""

    layout: Layout
    seconds_per_token: float
    memory: Memory
    batch_factor: float

    @property
    def score(self) -> float:
        """Return log seconds a token, with the batch's regret as the time that would make it up; less is better."""
        return math.log(self.seconds_per_token) + _batch_penalty(self.batch_factor) + _margin(self.layout)


@dataclass(frozen=True)
class Searched:
    """The best layout, None where none fits; how many there are, and how many were estimated."""

    best: LayoutEstimate | None
    num_layouts: int
    num_estimated: int


def batch_regret(factor: float) -> float:
    """Return the relative rise of loss for a batch `factor` times the best (`law.tuning`)."""
    return BATCH_PER_SQUARED_DOUBLING * math.log2(factor) ** 2


def _batch_penalty(factor: float) -> float:
    return batch_regret(factor) / LOSS_PER_LOG_TOKENS


def _margin(layout: Layout) -> float:
    return MARGIN * sum(degree > 1 for degree in (layout.tensor, layout.pipeline, layout.context))


def groups(task: Task) -> Iterator[Layout]:
    """Yield one layout a group, of one row a microbatch, a batch of one such row a replica."""
    shape, device = task.shape, task.device
    if not task.all_layouts:
        sharding: Sharding = "none" if task.num_devices == 1 else "zero1"
        yield Layout(
            task.num_devices, task.num_devices, 1, sharding=sharding, precision=task.precision, software=HEADWATER
        )
        return
    heads = shape.layers[0].attention.num_heads
    contexts = _powers(MAX_CONTEXT) if shape.seq_len >= LONG_ROW else [1]
    for tensor in _powers(min(device.node_size, heads)):
        for context in contexts:
            for pipeline in _powers(min(MAX_PIPELINE, shape.num_layers)):
                parts = tensor * context * pipeline
                if heads % tensor or shape.num_layers % pipeline or task.num_devices % parts:
                    continue
                for virtual in _virtual_stages(shape.num_layers, pipeline):
                    base = Layout(
                        task.num_devices, task.num_devices // parts, 1, tensor, pipeline, context,
                        virtual_stages=virtual, precision=task.precision,
                    )  # fmt: skip
                    yield from (_sharded(base, sharding, device) for sharding in _shardings(base, device))


def _powers(largest: int) -> list[int]:
    return [2**power for power in range(max(1, largest).bit_length())]


def _virtual_stages(num_layers: int, pipeline: int) -> list[int]:
    if pipeline == 1:
        return [1]
    return [parts for parts in range(1, MAX_PARTS + 1) if num_layers % (pipeline * parts) == 0]


def _shardings(layout: Layout, device: Device) -> list[Sharding]:
    replicas = layout.data * layout.context
    if replicas == 1:
        return ["none"]
    spread = replicas * layout.tensor > device.node_size >= 2 * layout.tensor and layout.pipeline == 1
    return ["zero1", "fsdp", "hsdp"] if spread else ["zero1", "fsdp"]


def _sharded(layout: Layout, sharding: Sharding, device: Device) -> Layout:
    inside = device.node_size // layout.tensor if sharding == "hsdp" else None
    found = replace(layout, sharding=sharding, shard_group=inside)
    return found if needs(found) else replace(found, software=HEADWATER)


def microbatches(task: Task, group: Layout) -> list[Layout]:
    """Return the group's layouts without recomputation, by microbatch, largest first; none when the batch is too big.

    The batch is the multiple of replicas × microbatch nearest to the wanted one; a pipeline has at least as many
    microbatches as stages. A batch more than four times the wanted one is outside what is known of its regret.
    """
    found = []
    for rows in _powers(max(1, MAX_MICROBATCH_TOKENS * group.context // task.shape.seq_len)):
        unit = group.data * rows
        batch = unit * max(group.pipeline, round(task.wanted_rows / unit))
        if batch <= MAX_FACTOR * task.wanted_rows:
            found.append(replace(group, microbatch_rows=rows, batch_rows=batch))
    return found[::-1]


def recomputing(layout: Layout, recompute: str) -> Layout:
    """Return a layout of `microbatches` with one of RECOMPUTES."""
    if recompute == "none":
        return layout
    if recompute == "half":
        return replace(layout, recompute="selective", keeps_half_the_matmuls=True)
    if recompute == "half the blocks":
        return replace(layout, recompute="full", recomputed_layers=0.5)
    return replace(layout, recompute=recompute)  # type: ignore[arg-type]


def every_layout(task: Task) -> Iterator[Layout]:
    """Yield the whole grid."""
    for group in groups(task):
        for layout in microbatches(task, group):
            yield from (recomputing(layout, recompute) for recompute in task.recomputes)


def estimate_layout(task: Task, layout: Layout, efficiency: Efficiency) -> LayoutEstimate | None:
    """Return the estimate of one layout, None when it doesn't fit."""
    memory = estimate_memory(task.shape, layout, task.optimizer)
    if memory.needed > task.memory_bytes:
        return None
    seconds = step_seconds(step_work(task.shape, layout, task.device), efficiency) + task.update_seconds(efficiency)
    tokens = layout.batch_rows * task.shape.seq_len
    return LayoutEstimate(layout, seconds / tokens, memory, layout.batch_rows / task.wanted_rows)


def fastest_layout(task: Task, efficiency: Efficiency) -> Searched:
    """Return the layout of the least score that fits."""
    best: LayoutEstimate | None = None
    num_layouts = num_estimated = 0
    for layout in (layout for group in groups(task) for layout in microbatches(task, group)):
        num_layouts += len(task.recomputes)
        for recompute in task.recomputes:  # the less the faster: the first that fits
            num_estimated += 1
            found = estimate_layout(task, recomputing(layout, recompute), efficiency)
            if found is not None:
                best = found if best is None or found.score < best.score else best
                break
    return Searched(best, num_layouts, num_estimated)
