"""A size that could be trained on given devices: how fast, in how much memory, how often saved. No torch."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from headwater.errors import ConfigError
from headwater.forecast.count import count_flops, count_params
from headwater.forecast.device import Device
from headwater.forecast.efficiency import shipped_constants, shipped_efficiency
from headwater.forecast.failures import (
    Pauses,
    Shares,
    daly_interval,
    lasting_part,
    mean_seconds_between_failures,
    shares,
)
from headwater.forecast.layout import Layout, Precision, needs, recompute_in_words
from headwater.forecast.layouts import LayoutEstimate, Task, batch_regret, fastest_layout
from headwater.forecast.memory import CONTEXT_BYTES
from headwater.forecast.processor import muon_flops, sizes_of
from headwater.forecast.shape import shape_of
from headwater.forecast.sizes import halved_fraction, wanted_rows
from headwater.forecast.time import in_halves, step_seconds, step_work
from headwater.model.count import flops_per_token
from headwater.model.settings import ModelSettings
from headwater.optim.blocks import block_rows_for
from headwater.scaling.arrays import Z_P90

FP8_LOSS = 0.0025
"Relative rise of loss in fp8: DeepSeek-V3 saw less than that against bf16 (arXiv:2412.19437, section 3.3)."
USUAL_MFU = 0.4
"For a first guess of a run's tokens, from which its batch follows: whole runs reach 0.3 to 0.5."
SAVED_BYTES, SAVE_RATE, SAVE_START = 8, 2e9, 5.0
"A checkpoint holds fp32 weights and Muon's moment; assumed: a node writes 2 GB/s, and a save takes 5 s to begin."
LAUNCH_SECONDS = 120.0
"From the launch to the first step; assumed: processes start, kernels are compiled, text is opened."


@dataclass(frozen=True)
class Candidate:
    """One size and how it would be trained. `multiplied` counts the weights a token is multiplied by (`count`).

    `seconds_per_token` is of the whole machine and holds pauses, failures and saves; `start_seconds` comes once,
    `prepare_seconds` for each token of text that is read. `log_penalty` is what its batch and precision cost in log
    loss. Spreads are standard deviations of logarithms. `how` names the layout for people, `needs` what headwater
    lacks for it, `extra_settings` those of its training besides sizes, batch and steps.
    """

    model: ModelSettings
    params: int
    multiplied: int
    flops_per_token: float
    seconds_per_token: float
    batch_tokens: int
    memory_bytes: float
    memory_limit: float
    checkpoint: Checkpoint
    layout: dict[str, Any]
    how: str
    hours_deviation: float
    memory_deviation: float
    log_penalty: float = 0.0
    start_seconds: float = 0.0
    prepare_seconds: float = 0.0
    mfu: float | None = None
    needs: tuple[str, ...] = ()
    extra_settings: dict[str, Any] = field(default_factory=dict)

    def seconds(self, tokens: float, unique: float) -> float:
        """Return the time of a run of `tokens`, of which `unique` are different ones."""
        return self.start_seconds + self.seconds_per_token * tokens + self.prepare_seconds * min(tokens, unique)

    def seconds_by_part(self, tokens: float, unique: float) -> dict[str, float]:
        """Return what the same time goes into: the parts sum to `seconds`."""
        running = self.seconds_per_token * tokens
        parts = {name: share * running for name, share in asdict(self.checkpoint.shares).items()}
        return parts | {"start_and_end": self.start_seconds, "text": self.prepare_seconds * min(tokens, unique)}

    def tokens(self, seconds: float, unique: float) -> float:
        """Return how many tokens a time allows, zero where it is over before the first."""
        left = seconds - self.start_seconds
        fresh = max(0.0, left / (self.seconds_per_token + self.prepare_seconds))
        return fresh if fresh <= unique else (left - self.prepare_seconds * unique) / self.seconds_per_token


@dataclass(frozen=True)
class Checkpoint:
    """How often to save, what a save takes, how long between failures, and what a run's time goes into then."""

    interval_seconds: float
    save_seconds: float
    mtbf_seconds: float
    shares: Shares


def checkpoint(num_devices: int, pauses: Pauses) -> Checkpoint:
    """Return Daly's interval and what is left of the time; raise ConfigError where a run would never end."""
    lasting_part(num_devices, pauses)
    mtbf = mean_seconds_between_failures(num_devices)
    interval = daly_interval(pauses.save_seconds, mtbf)
    return Checkpoint(interval, pauses.save_seconds, mtbf, shares(num_devices, pauses, interval))


@dataclass(frozen=True)
class Cluster:
    """Devices to plan for; `max_memory` is what one may use, None for all it has.

    In `half_length_fraction` of a run rows of an even length are two sequences each; None for the rule's.
    """

    num_devices: int
    device: Device
    max_memory: float | None = None
    precision: str = "auto"
    all_layouts: bool = False
    half_length_fraction: float | None = None

    @property
    def usable_memory(self) -> float:
        return min(self.max_memory or math.inf, self.device.memory_bytes)

    def precisions(self) -> tuple[Precision, ...]:
        """Return what to try: bf16; fp8, which headwater has never trained in on a GPU, where it is named or all are.

        Raise ConfigError where the device has no bf16, or fp8 is asked of one that has none.
        """
        if not self.device.has_bf16:
            raise ConfigError(
                f"{self.device.name} multiplies no bf16, and headwater trains in nothing narrower than float32 there: "
                "name another device"
            )
        if self.precision == "fp8":
            self.device.peak_flops("fp8")
            return ("fp8",)
        is_open = self.precision == "auto" and self.all_layouts and self.device.has_fp8
        return ("bf16", "fp8") if is_open else ("bf16",)

    def estimated_tokens(self, model: ModelSettings, seconds: float, most: float) -> float:
        """Return about how many tokens a time allows, before any layout is known."""
        rate = self.num_devices * USUAL_MFU * self.device.bf16_flops
        return min(most, seconds * rate / count_flops(shape_of(model)).causal)


@dataclass(frozen=True)
class LayoutSearch:
    """What one search of layouts saw: candidates that fit, layouts there are, and estimates made."""

    candidates: tuple[Candidate, ...]
    num_layouts: int
    num_estimated: int


def on_cluster(cluster: Cluster, model: ModelSettings, num_tokens: float) -> LayoutSearch:
    """Return the model on its fastest layout in each precision, none where it fits in no layout."""
    shape, found = shape_of(model), []
    num_layouts = num_estimated = 0
    deviation = shipped_constants()["spread"]["memory"]
    # nine of ten runs fit, by the error that estimates of memory have had
    usable = cluster.usable_memory / math.exp(Z_P90 * deviation)
    wanted = wanted_rows(num_tokens, model.seq_len)
    for precision in cluster.precisions():
        task = Task(
            shape,
            cluster.device,
            cluster.num_devices,
            wanted,
            usable,
            precision,
            update_flops=_muon_flops(model, wanted * model.seq_len),
            all_layouts=cluster.all_layouts,
        )
        searched = fastest_layout(task, shipped_efficiency())
        num_layouts, num_estimated = num_layouts + searched.num_layouts, num_estimated + searched.num_estimated
        if searched.best is not None:
            found.append(_candidate(cluster, model, searched.best))
    return LayoutSearch(tuple(found), num_layouts, num_estimated)


def _muon_flops(model: ModelSettings, batch_tokens: int) -> float:
    block_rows = block_rows_for(model.d_model, model.d_ff, batch_tokens)
    return muon_flops(sizes_of(model, is_muon=True, block_rows=block_rows).matrices, on_processor=False)


def _candidate(cluster: Cluster, model: ModelSettings, best: LayoutEstimate) -> Candidate:
    shape, layout, device = shape_of(model), best.layout, cluster.device
    params, fitted = count_params(shape).total, shipped_constants()
    nodes = max(1.0, cluster.num_devices / device.node_size)
    saved = checkpoint(cluster.num_devices, Pauses(SAVE_START + SAVED_BYTES * params / (nodes * SAVE_RATE)))
    palm = count_flops(shape).palm / best.seconds_per_token / cluster.num_devices
    fraction = halved_fraction(model.seq_len, cluster.half_length_fraction)
    per_token = best.seconds_per_token * _part_with_halves(cluster, model, best, fraction)
    cost = batch_regret(best.batch_factor) + (FP8_LOSS if layout.precision != "bf16" else 0.0)
    return Candidate(
        model=model,
        params=params,
        multiplied=count_params(shape).matmul,
        flops_per_token=flops_per_token(model, fraction),
        seconds_per_token=per_token / saved.shares.steps / fitted["constants"]["run_part"],
        batch_tokens=layout.batch_rows * model.seq_len,
        memory_bytes=best.memory.peak + CONTEXT_BYTES,
        memory_limit=cluster.usable_memory,
        checkpoint=saved,
        layout=layout_fields(best, model.seq_len),
        how=in_words(best),
        hours_deviation=fitted["spread"]["hours"],
        memory_deviation=fitted["spread"]["memory"],
        log_penalty=math.log1p(cost),
        start_seconds=LAUNCH_SECONDS,
        mfu=palm / device.peak_flops(layout.precision.split("-")[0]),
        needs=tuple(needs(layout)),
        extra_settings=_extra_settings(layout, model.seq_len),
    )


def _extra_settings(layout: Layout, seq_len: int) -> dict[str, Any]:
    found: dict[str, Any] = {"train.microbatch_tokens": layout.microbatch_rows * seq_len}
    if layout.recompute == "full":
        found["train.recompute_fraction"] = layout.recomputed_layers
    return found | ({"machine.dtype": "float8"} if layout.precision == "fp8" else {})


def _part_with_halves(cluster: Cluster, model: ModelSettings, best: LayoutEstimate, fraction: float) -> float:
    """Return the mean step of a run over one of whole rows."""
    work, efficiency = step_work(shape_of(model), best.layout, cluster.device), shipped_efficiency()
    return step_seconds(in_halves(work, fraction), efficiency) / step_seconds(work, efficiency)


def layout_fields(best: LayoutEstimate, seq_len: int) -> dict[str, Any]:
    layout = best.layout
    return {
        "num_devices": layout.num_devices,
        "data": layout.data,
        "tensor": layout.tensor,
        "pipeline": layout.pipeline,
        "context": layout.context,
        "virtual_stages": layout.virtual_stages,
        "sharding": layout.sharding,
        "shard_group": layout.num_shards if layout.sharding != "none" else 1,
        "recompute": recompute_in_words(layout),
        "precision": layout.precision,
        "batch_rows": layout.batch_rows,
        "batch_tokens": layout.batch_rows * seq_len,
        "microbatch_rows": layout.microbatch_rows,
        "num_microbatches": layout.num_microbatches,
        "batch_over_rule": best.batch_factor,
    }


def in_words(best: LayoutEstimate) -> str:
    layout = best.layout
    degrees = {"tensor": layout.tensor, "pipeline": layout.pipeline, "context": layout.context}
    split = "".join(f" × {name} {degree}" for name, degree in degrees.items() if degree > 1)
    parts = f" in {layout.virtual_stages} parts each" if layout.virtual_stages > 1 else ""
    sharding = {"none": "nothing sharded", "zero1": "optimizer sharded", "fsdp": "FSDP", "hsdp": "HSDP"}
    return (
        f"data {layout.data}{split}{parts}, {sharding.get(layout.sharding, layout.sharding)}, {layout.precision}, "
        f"recompute {recompute_in_words(layout)}"
    )
