"""Sizes as they would train on the processor at hand, for a search over a budget. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from headwater.config import RawSettings
from headwater.forecast.candidate import Candidate, Placement, halved_fraction, wanted_rows
from headwater.forecast.failures import Pauses, checkpoints
from headwater.forecast.processor import Peaks, constants, sizes_of, step_seconds
from headwater.forecast.processor_memory import Portion, run_memory
from headwater.forecast.result import Spread
from headwater.intervals import Z_P90
from headwater.machine.host import cpu_flags
from headwater.machine.memory import memory_bytes
from headwater.machine.settings import MachineSettings
from headwater.machine.threads import usable_cores
from headwater.model.count import flops_per_token
from headwater.model.settings import ModelSettings
from headwater.optim.blocks import block_rows_for
from headwater.optim.rules import apply_rules_
from headwater.optim.settings import OptimSettings
from headwater.runs.plan_machine import (
    MOST_OF_MEMORY,
    UNKNOWN_HELD_OUT,
    checkpoint_bytes,
    probe_seconds,
    processor_dtype,
    processor_peaks,
    rule_microbatch,
    usual_here,
    validation_seconds,
)
from headwater.runs.run_config import RunConfig
from headwater.runs.text_size import has_almanac
from headwater.runs.times import earlier_runs, speed_here
from headwater.train.settings import TrainSettings

USUAL_VALIDATIONS = 12
"Of a run, by the rule of `train.validate_every`."
RESTART_SECONDS = 60.0
RECOMPUTED = (0.0, 0.5, 1.0)
GUESS_TOKENS = 1e8


def usual_evaluations(config: RunConfig | None) -> float:
    """Return the seconds of a run's validations and probes over those of a token, whose number of steps isn't known.

    They are those of the run's text, or of one text without an almanac; as often as rules say, and with each probe.
    """
    num_probes = config.train.num_probes if config else TrainSettings.model_fields["num_probes"].default
    validated = UNKNOWN_HELD_OUT * constants()["around_steps"]["tokens_of_validated_token"]
    validation = validation_seconds(config, 1.0) if config else validated
    probe = probe_seconds(1.0, with_almanac=config is not None and has_almanac(config))
    return (USUAL_VALIDATIONS + num_probes) * validation + num_probes * probe


@dataclass(frozen=True)
class Processor:
    """The machine: its rates, memory that a run may use, and what of it a run holds beside its loop.

    `usual` is a step over what the rates say, as earlier runs here had it; `evaluations` are all of a run, over a
    token of training.
    In `half_length_fraction` of a run rows of an even length are two sequences each; None for the rule's.
    """

    cores: int
    peaks: Peaks
    memory_bytes: float
    optim: OptimSettings
    token_bytes: float
    usual: Spread
    evaluations: float
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

    def candidate(self, model: ModelSettings, num_tokens: float, prepared_bytes_per_token: float) -> Candidate | None:
        """Return the model with as little recomputed as fits, None where it doesn't fit at all."""
        rows = wanted_rows(num_tokens, model.seq_len)
        micro = rule_microbatch(rows * model.seq_len, model.seq_len)
        for recomputed in RECOMPUTED:
            portion = Portion(micro, math.ceil(recomputed * model.num_layers))
            peak = run_memory(model, portion, self.peaks.dtype, self.token_bytes)  # type: ignore[arg-type]
            if peak * math.exp(Z_P90 * constants()["log_deviation"]["memory"]) <= self.memory_bytes:
                placement = Placement(1, self.peaks.dtype, rows, micro // model.seq_len, recomputed)
                return self._candidate(model, placement, peak, num_tokens, prepared_bytes_per_token)
        return None

    def _candidate(
        self, model: ModelSettings, placement: Placement, peak: float, num_tokens: float, prepared: float
    ) -> Candidate:
        around, deviation = constants()["around_steps"], constants()["log_deviation"]
        batch = placement.batch_rows * model.seq_len
        save = checkpoint_bytes(model, self.optim) / around["checkpoint_bytes_per_second"]
        per_token = self._step(model, batch, placement.recompute) / batch
        evaluating, training = self.evaluations * per_token, num_tokens * per_token
        saved = checkpoints(1, Pauses(save, RESTART_SECONDS, evaluating / (evaluating + training)))
        return Candidate(
            model=model,
            flops_per_token=flops_per_token(model, self._halved(model)),
            seconds_per_token=per_token / saved.shares.steps,
            placement=placement,
            memory_bytes=peak,
            memory_limit=self.memory_bytes,
            checkpoints=saved,
            hours_deviation=self.usual.log_deviation,
            memory_deviation=deviation["memory"],
            start_seconds=around["start_seconds"] + around["tokens_after"] * per_token,
            prepare_seconds=prepared / around["preparation_bytes_per_second"],
        )


def processor_at_hand(
    config: RunConfig | None, max_memory: float | None, token_bytes: float, dtype: str = "auto"
) -> Processor:
    """Return this machine's processor, with the run's threads, dtype, optimizer and rows where there is a run.

    `dtype` is machine.dtype without a run. Raises ConfigError for float8.
    """
    cores = (config.machine.num_threads if config else None) or usable_cores()
    flags = cpu_flags()
    machine = config.machine if config else MachineSettings(dtype=dtype)  # type: ignore[arg-type]
    dtype = processor_dtype(machine, flags)
    limit = min(max_memory or math.inf, float(memory_bytes()))
    optim = config.optim if config else usual_optim()
    halved = config.train.half_length_fraction if config else None
    peaks = processor_peaks(dtype, cores, flags)
    runs_dir = Path(config.runs_dir if config else RunConfig.model_fields["runs_dir"].default)
    usual = usual_here(earlier_runs(runs_dir, speed_here(dtype, cores, machine.compile != "off")), peaks)
    unknown = math.hypot(constants()["log_deviation"]["step"], constants()["log_deviation"]["step_shape"])
    token_bytes = min(token_bytes, MOST_OF_MEMORY * memory_bytes())
    return Processor(
        cores, peaks, limit, optim, token_bytes, usual or Spread(1.0, unknown), usual_evaluations(config), halved
    )


def usual_optim() -> OptimSettings:
    """Return Muon by the rules, of which the search uses the name alone."""
    raw = RawSettings({"model": {"d_model": 768, "seq_len": 1024}, "train": {"num_steps": 10_000}}, {})
    apply_rules_(raw)
    return OptimSettings.model_validate(raw.get("optim"))
