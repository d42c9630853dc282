"""Sizes on devices of a table, as `headwater train` would train them there: one device, or data parallel. No torch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from headwater.errors import ConfigError
from headwater.forecast.candidate import Candidate, Placement, halved_fraction, wanted_rows
from headwater.forecast.device import Device
from headwater.forecast.efficiency import shipped_constants, shipped_efficiency
from headwater.forecast.failures import Pauses, checkpoints
from headwater.forecast.layout import HEADWATER, Layout, Precision
from headwater.forecast.memory import Memory, estimate_memory
from headwater.forecast.processor import muon_flops, sizes_of
from headwater.forecast.time import USUAL_UTILISATION, in_halves, run_seconds_per_token, step_seconds, step_work
from headwater.forecast.transformer import Transformer, transformer_of
from headwater.intervals import Z_P90
from headwater.model.count import count_parameters, flops_per_token
from headwater.model.settings import ModelSettings
from headwater.optim.blocks import block_rows_for
from headwater.scaling.published import BATCH_PER_SQUARED_DOUBLING, MAX_FACTOR

FP8_LOSS = 0.0025
"Relative rise of loss in fp8: DeepSeek-V3 saw less than that against bf16 (arXiv:2412.19437, section 3.3)."
SAVED_BYTES, SAVE_RATE, SAVE_START = 8, 2e9, 5.0
"A checkpoint holds fp32 weights and Muon's moment; assumed: a node writes 2 GB/s, and a save takes 5 s to begin."
LAUNCH_SECONDS = 120.0
"From the launch to the first step; assumed: processes start, kernels are compiled, text is opened."
MAX_MICROBATCH_TOKENS = 65_536
LOSS_PER_LOG_TOKENS = 0.04
"By how much of its logarithm loss falls with that of tokens, about: what a regret of the batch is worth in time."
RECOMPUTED = (0.0, 0.5, 1.0)


@dataclass(frozen=True)
class Step:
    """A layout that fits, seconds of a step, its memory, and the loss that its batch costs, relative."""

    layout: Layout
    seconds: float
    memory: Memory
    regret: float

    @property
    def score(self) -> float:
        """Log seconds of a row, with the batch's regret as the time that would make it up; less is better."""
        return math.log(self.seconds / self.layout.batch_rows) + self.regret / LOSS_PER_LOG_TOKENS


@dataclass(frozen=True)
class Cluster:
    """Devices to plan for; `max_memory` is what one may use, None for all it has.

    In `half_length_fraction` of a run rows of an even length are two sequences each; None for the rule's. Raises
    ConfigError where the device has no bf16, or no fp8 and that is named.
    """

    num_devices: int
    device: Device
    max_memory: float | None = None
    precision: Precision = "bf16"
    half_length_fraction: float | None = None

    def __post_init__(self) -> None:
        if not self.device.has_bf16:
            raise ConfigError(
                f"{self.device.name} multiplies no bf16, and headwater trains in nothing narrower than float32 there: "
                "name another device"
            )
        self.device.peak_flops(self.precision)

    @property
    def usable_memory(self) -> float:
        return min(self.max_memory or math.inf, self.device.memory_bytes)

    def estimated_tokens(self, model: ModelSettings, seconds: float) -> float:
        """Return about how many tokens a time allows, before any layout is known."""
        usual = 6 * count_parameters(model).total / (USUAL_UTILISATION * self.device.bf16_flops * self.num_devices)
        return seconds / usual

    def candidate(self, model: ModelSettings, num_tokens: float) -> Candidate | None:
        """Return the size with its best batch, microbatch and recomputation; None where it doesn't fit."""
        found = self.best_step(model, num_tokens)
        return None if found is None else self._candidate(model, found)

    def best_step(self, model: ModelSettings, num_tokens: float) -> Step | None:
        """Return the step of the least score, of those that fit in nine of ten runs."""
        deviation = shipped_constants()["spread"]["memory"]
        usable = self.usable_memory / math.exp(Z_P90 * deviation)
        shape, wanted = transformer_of(model), wanted_rows(num_tokens, model.seq_len)
        fitting = (self._step(model, shape, layout, wanted, usable) for layout in self._layouts(shape, wanted))
        return min((each for each in fitting if each is not None), key=lambda step: step.score, default=None)

    def _layouts(self, shape: Transformer, wanted: int) -> Iterator[Layout]:
        """Yield layouts by microbatch, largest first; none when the batch is too big.

        The batch is the multiple of ranks × microbatch nearest to the wanted one. One more than four times the wanted
        one is outside what is known of its regret.
        """
        most = max(1, MAX_MICROBATCH_TOKENS // shape.seq_len)
        for power in reversed(range(most.bit_length())):
            unit = self.num_devices * 2**power
            batch = unit * max(1, round(wanted / unit))
            if batch <= MAX_FACTOR * wanted:
                yield Layout(
                    self.num_devices,
                    batch,
                    2**power,
                    sharding="none" if self.num_devices == 1 else "zero1",
                    precision=self.precision,
                    software=HEADWATER,
                )

    def _step(
        self, model: ModelSettings, shape: Transformer, layout: Layout, wanted: int, usable: float
    ) -> Step | None:
        """Return the layout's step with the least recomputation that fits, which is its fastest."""
        for part in RECOMPUTED:
            tried = replace(layout, recompute="full", recomputed_layers=part) if part else layout
            memory = estimate_memory(shape, tried, "muon")
            if memory.needed <= usable:
                work = step_work(shape, tried, self.device)
                halved = in_halves(work, halved_fraction(model.seq_len, self.half_length_fraction))
                seconds = step_seconds(halved, shipped_efficiency()) + self._muon_seconds(model, layout.batch_rows)
                regret = BATCH_PER_SQUARED_DOUBLING * math.log2(layout.batch_rows / wanted) ** 2
                return Step(tried, seconds, memory, regret)
        return None

    def _muon_seconds(self, model: ModelSettings, batch_rows: int) -> float:
        """Return the time of Newton-Schulz products in a step: each rank orthogonalises its share of the matrices."""
        block_rows = block_rows_for(model.d_model, model.d_ff, batch_rows * model.seq_len)
        flops = muon_flops(sizes_of(model, is_muon=True, block_rows=block_rows).matrices, on_processor=False)
        rate = self.device.bf16_flops * shipped_efficiency().matmul(self.device.architecture, "bf16")
        return flops / self.num_devices / rate

    def _candidate(self, model: ModelSettings, step: Step) -> Candidate:
        layout, shape, spread = step.layout, transformer_of(model), shipped_constants()["spread"]
        nodes = max(1.0, self.num_devices / self.device.node_size)
        save_seconds = SAVE_START + SAVED_BYTES * shape.num_params / (nodes * SAVE_RATE)
        saved = checkpoints(self.num_devices, Pauses(save_seconds))
        a_token = step.seconds / (layout.batch_rows * model.seq_len) / saved.shares.steps
        a_token = run_seconds_per_token(shape.num_params, self.device, self.num_devices, a_token)
        peak = self.device.peak_flops(layout.precision) * self.num_devices
        recomputed = {"train.recompute_fraction": layout.forward_again} if layout.forward_again else {}
        narrow = {"machine.dtype": "float8"} if layout.precision == "fp8" else {}
        micro = {"train.microbatch_tokens": layout.microbatch_rows * model.seq_len}
        return Candidate(
            model=model,
            flops_per_token=flops_per_token(model, halved_fraction(model.seq_len, self.half_length_fraction)),
            seconds_per_token=a_token,
            placement=Placement(
                layout.num_devices, layout.precision, layout.batch_rows, layout.microbatch_rows, layout.forward_again
            ),
            memory_bytes=step.memory.needed,
            memory_limit=self.usable_memory,
            checkpoints=saved,
            hours_deviation=spread["hours"],
            memory_deviation=spread["memory"],
            log_penalty=math.log1p(step.regret + (FP8_LOSS if narrow else 0.0)),
            start_seconds=LAUNCH_SECONDS,
            mfu=shape.palm_flops_per_token / a_token / peak,
            extra_settings=micro | recomputed | narrow,
        )
