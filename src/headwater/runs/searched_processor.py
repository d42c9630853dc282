"""Sizes as they would train on the processor at hand, for a search over a budget. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from headwater.config import RawSettings
from headwater.forecast.candidate import Candidate, LayoutSearch, checkpoint
from headwater.forecast.failures import Pauses
from headwater.forecast.forecast_run import Spread
from headwater.forecast.processor import Peaks, constants, sizes_of, step_seconds
from headwater.forecast.processor_memory import Around, Portion, processor_memory
from headwater.forecast.sizes import halved_fraction, wanted_rows
from headwater.machine.host import cpu_flags, fast_dtype
from headwater.machine.memory import memory_bytes
from headwater.machine.settings import MachineSettings
from headwater.machine.threads import usable_cores
from headwater.model.count import count_parameters, flops_per_token
from headwater.model.settings import ModelSettings
from headwater.optim.blocks import block_rows_for
from headwater.optim.rules import apply_rules_
from headwater.optim.settings import OptimSettings
from headwater.runs.earlier_runs import speed_here
from headwater.runs.planned_device import processor_dtype, rule_microbatch
from headwater.runs.planned_step import RUN_TO_RUN, processor_peaks, usual_here
from headwater.runs.planned_time import (
    FIRST_LIGHT_BYTES,
    START_SECONDS,
    Evaluations,
    checkpoint_bytes,
    ending_seconds,
    usual_evaluations,
)
from headwater.runs.run_config import RunConfig
from headwater.scaling.arrays import Z_P90

RESTART_SECONDS = 60.0
RECOMPUTED = (0.0, 0.5, 1.0)
GUESS_TOKENS = 1e8


@dataclass(frozen=True)
class Processor:
    """The machine: its rates, memory that a run may use, and what of it a run holds beside its loop.

    `usual` is a step over what the rates say, as earlier runs here had it.
    In `half_length_fraction` of a run rows of an even length are two sequences each; None for the rule's.
    """

    cores: int
    peaks: Peaks
    memory_bytes: float
    optim: OptimSettings
    around: Around
    usual: Spread
    evaluations: Evaluations
    half_length_fraction: float | None = None

    @property
    def name(self) -> str:
        return f"this processor ({self.cores} cores, {self.peaks.dtype})"

    @property
    def watts(self) -> float:
        return float(constants()["watts_per_core"] * self.cores)

    @property
    def watts_deviation(self) -> float:
        return float(constants()["log_deviation"]["watts"])

    def estimated_tokens(self, model: ModelSettings, seconds: float) -> float:
        """Return how many tokens a time allows at the batch of a run of 100 million tokens."""
        batch = wanted_rows(GUESS_TOKENS, model.seq_len) * model.seq_len
        return seconds / self._step(model, batch, 0.0) * batch

    def _step(self, model: ModelSettings, batch_tokens: int, recomputed: float) -> float:
        block_rows = block_rows_for(model.d_model, model.d_ff, batch_tokens)
        sizes = sizes_of(model, self.optim.name == "muon", block_rows, self._halved(model))
        return self.usual.median * step_seconds(sizes, batch_tokens, self.peaks, recomputed)

    def _halved(self, model: ModelSettings) -> float:
        return halved_fraction(model.seq_len, self.half_length_fraction)

    def search(self, model: ModelSettings, num_tokens: float, prepared_bytes_per_token: float) -> LayoutSearch:
        """Return the model with as little recomputed as fits, none where it doesn't fit at all."""
        batch = wanted_rows(num_tokens, model.seq_len) * model.seq_len
        micro = rule_microbatch(batch, model.seq_len)
        for tried, recomputed in enumerate(RECOMPUTED, 1):
            portion = Portion(micro, math.ceil(recomputed * model.num_layers), num_threads=self.cores)
            peak = self._peak(model, portion)
            if peak * math.exp(Z_P90 * constants()["log_deviation"]["memory"]) <= self.memory_bytes:
                found = self._candidate(model, (batch, micro), recomputed, peak, (num_tokens, prepared_bytes_per_token))
                return LayoutSearch((found,), len(RECOMPUTED), tried)
        return LayoutSearch((), len(RECOMPUTED), len(RECOMPUTED))

    def _peak(self, model: ModelSettings, portion: Portion) -> float:
        dtype = self.peaks.dtype
        return processor_memory(model, self.optim, portion, dtype, self.around).peak  # type: ignore[arg-type]

    def _candidate(
        self,
        model: ModelSettings,
        sizes: tuple[int, int],
        recomputed: float,
        peak: float,
        text: tuple[float, float],
    ) -> Candidate:
        (batch, micro), (num_tokens, prepared) = sizes, text
        around, deviation = constants()["around_steps"], constants()["log_deviation"]
        params = count_parameters(model).total
        save = checkpoint_bytes(model, self.optim) / around["checkpoint_bytes_per_second"]
        per_token = self._step(model, batch, recomputed) / batch
        evaluating, training = self.evaluations.seconds(per_token), num_tokens * per_token
        saved = checkpoint(1, Pauses(save, RESTART_SECONDS, evaluating / (evaluating + training)))
        after = ending_seconds(per_token, FIRST_LIGHT_BYTES)
        return Candidate(
            model=model,
            params=params,
            multiplied=count_parameters(model).matmul,
            flops_per_token=flops_per_token(model, self._halved(model)),
            seconds_per_token=per_token / saved.shares.steps,
            batch_tokens=batch,
            memory_bytes=peak,
            memory_limit=self.memory_bytes,
            checkpoint=saved,
            layout={
                "num_devices": 1,
                "data": 1,
                "precision": self.peaks.dtype,
                "recompute": f"{recomputed:.0%} of the blocks" if recomputed else "none",
                "batch_rows": batch // model.seq_len,
                "batch_tokens": batch,
                "microbatch_rows": micro // model.seq_len,
                "num_microbatches": batch // micro,
            },
            how=f"one process, {self.peaks.dtype}"
            + (f", {recomputed:.0%} of the blocks recomputed" if recomputed else ""),
            hours_deviation=math.hypot(self.usual.log_deviation, RUN_TO_RUN),
            memory_deviation=deviation["memory"],
            start_seconds=START_SECONDS + after,
            prepare_seconds=prepared / around["preparation_bytes_per_second"],
        )


def processor_at_hand(config: RunConfig | None, max_memory: float | None, around: Around) -> Processor:
    """Return this machine's processor, with the run's threads, dtype, optimizer and rows where there is a run."""
    cores = (config.machine.num_threads if config else None) or usable_cores()
    flags = cpu_flags()
    dtype = processor_dtype(config, flags) if config else fast_dtype(flags)
    limit = min(max_memory or math.inf, float(memory_bytes()))
    optim = config.optim if config else usual_optim()
    halved = config.train.half_length_fraction if config else None
    peaks, machine = processor_peaks(dtype, cores, flags), config.machine if config else MachineSettings()
    runs_dir = Path(config.runs_dir if config else RunConfig.model_fields["runs_dir"].default)
    usual = usual_here(runs_dir, speed_here(dtype, cores, machine.compile != "off"), peaks)
    return Processor(cores, peaks, limit, optim, around, usual, usual_evaluations(config), halved)


def usual_optim() -> OptimSettings:
    """Return Muon by the rules, of which the search uses the name alone."""
    raw = RawSettings({"model": {"d_model": 768, "seq_len": 1024}, "train": {"num_steps": 10_000}}, {})
    apply_rules_(raw)
    return OptimSettings.model_validate(raw.get("optim"))
