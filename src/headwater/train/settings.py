"""How long and in what portions a run trains, when it is saved and measured, and what of that is fixed. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from headwater.core.config import Settings
from headwater.core.validation import Count, Fraction, wanted
from headwater.machine.device.settings import MachineSettings
from headwater.model.optim.schedule import ScheduleSettings, decay_start
from headwater.model.optim.settings import OptimSettings
from headwater.model.settings import ModelSettings
from headwater.tokens.batches.settings import MixtureSettings


class TrainSettings(Settings):
    """Length, portions and the moments at which a run is saved and measured."""

    num_steps: int = Field(ge=1)
    "Number of updates."
    batch_tokens: int = Field(ge=1)
    "Tokens of one step, over all ranks."
    microbatch_tokens: Annotated[
        Count | Literal["auto"], wanted("a microbatch is a number of tokens, 1 or more, or auto")
    ]
    "Tokens of one forward pass on one rank; batch_tokens is a multiple. auto: measured at the run's start, then kept."
    half_length_fraction: float = Field(default=0.0, ge=0, le=1)
    "Fraction of the run, from its start, in which each sequence is cut into two of half its length."
    recompute: Annotated[
        Fraction | Literal["auto", "selective"],
        wanted("what is recomputed is a fraction of the blocks, 0 to 1, selective or auto"),
    ] = "auto"
    """Fraction of the blocks that are computed again in the backward pass instead of kept: less memory, more time.
    selective: all of them, but for matrix products and attention, which take the time. auto: none, or what several
    ranks need and is forecast to be faster than sharing layers."""
    log_every: int = Field(default=10, ge=1)
    "Steps between lines on the terminal; every step is in records.jsonl."
    save_every: int = Field(ge=1)
    "Steps between checkpoints; the last step and a signal save, too."
    keep_checkpoints: int = Field(default=2, ge=2)
    "Number of newest checkpoints kept."
    validate_every: int = Field(ge=1)
    "Steps between validations; those at logarithmic intervals and after the last step come on top."
    validation_sequences: int = Field(default=12, ge=1)
    "Sequences of each source in a validation during training; `evaluate` uses all of them."
    num_probes: int = Field(default=9, ge=0)
    "How often a run is probed and writes samples, at logarithmic intervals up to its end, and a base first; 0: never."
    prompts: list[str] | None = None
    "Prompts that are continued at each probe; unset: the first words of held-out documents."
    trackers: list[str] = []
    "Programs that get the records as they come: tensorboard, wandb (offline), or a plug-in's name."
    guard_sigmas: float | None = Field(default=6.0, gt=0)
    "Deviations above the last steps' losses and gradient norms at which a step is skipped; off: only NaN and Inf."
    guard_window: int = Field(default=128, ge=8)
    "Number of last steps that a step is compared with."
    max_bad_steps: int = Field(default=20, ge=1)
    "Skipped steps, of the last guard_window, after which the run goes back to a checkpoint from before the first."
    max_rollbacks: int = Field(default=5, ge=0)
    "How often a run goes back; then it stops."
    profile_steps: list[int] | None = Field(default=None, min_length=2, max_length=2)
    "First and last step of which RUN/profile/ gets a trace that ui.perfetto.dev shows; unset: none."
    hang_seconds: Annotated[
        Annotated[float, Field(strict=True, gt=0)] | Literal["auto"] | None,
        wanted("a step hangs after a number of seconds above 0, auto, or None for never"),
    ] = "auto"
    "Seconds after which a step hangs: its process ends; auto: of several ranks 30 slow steps, at least 60; off: never."

    @field_validator("profile_steps")
    @classmethod
    def _check_profile_steps(cls, value: list[int] | None) -> list[int] | None:
        if value is not None and not 1 <= value[0] <= value[1]:
            raise ValueError("the steps to profile are [first, last], the first 1 or more and the last not before it")
        return value

    @model_validator(mode="after")
    def _check_batch(self) -> TrainSettings:
        if self.microbatch_tokens != "auto" and self.batch_tokens % self.microbatch_tokens:
            rest = self.batch_tokens % self.microbatch_tokens
            suggestion = self.batch_tokens - rest or self.microbatch_tokens
            raise ValueError(
                f"batch_tokens={self.batch_tokens} must be a multiple of microbatch_tokens={self.microbatch_tokens}; "
                f"try batch_tokens={suggestion}"
            )
        return self


def recompute_of(train: TrainSettings, num_layers: int) -> int | Literal["selective"]:
    """Return how many blocks are computed again, a fraction above 0 being at least one; or that products are kept."""
    return "selective" if train.recompute == "selective" else math.ceil(fraction_repeated(train) * num_layers)


def fraction_repeated(train: TrainSettings) -> float:
    """Return the fraction of the blocks whose forward pass is computed twice; what is selective repeats no product."""
    return 0.0 if isinstance(train.recompute, str) else train.recompute


def is_half_length(step: int, train: TrainSettings) -> bool:
    """Return whether the rows of the step after `step` are cut in two."""
    return step < round(train.half_length_fraction * train.num_steps)


def probe_steps(train: TrainSettings) -> list[int]:
    """Return the steps after which a run is probed: at logarithmic intervals, ending at the last step."""
    first, last = max(1, train.num_steps // 100), train.num_steps
    if train.num_probes < 2:
        return [last] * train.num_probes
    ratio = (last / first) ** (1 / (train.num_probes - 1))
    return sorted({round(first * ratio**i) for i in range(train.num_probes)})


def validation_steps(train: TrainSettings) -> list[int]:
    """Return the steps after which bits per byte are measured: every `validate_every`, at probes, and the last."""
    every = range(train.validate_every, train.num_steps + 1, train.validate_every)
    return sorted({*every, *probe_steps(train), train.num_steps})


SAVE_TIME_MARGIN = 1.5  # a save is expected to last at most this many times the slowest of the last ones
NUM_GRADIENT_CHECKS, MIN_CHECK_STEPS = 5, 100
# distance of int8's gradient of a matrix from bfloat16's over its norm; 0.06 to 0.1 is usual in the worst one at 4,096
# and 16,384 tokens. At a quarter rounding does as much as Muon's approximation: singular values end within 1 ± 0.24
MAX_GRADIENT_ERROR = 0.25


def is_gradient_check(step: int, train: TrainSettings) -> bool:
    """Return whether the gradient of the step after `step` is compared with one that isn't rounded to int8.

    Five times in a run, but at most every 100 steps, each of which costs about one step.
    """
    every = max(MIN_CHECK_STEPS, train.num_steps // NUM_GRADIENT_CHECKS)
    return (step + 1) % every == 0


def is_probe(step: int, train: TrainSettings) -> bool:
    """Return whether a run is probed after `step`; 0 is the base that it starts from."""
    return step in probe_steps(train) or (step == 0 and train.num_probes > 0)


def is_validation(step: int, train: TrainSettings) -> bool:
    return step % train.validate_every == 0 or is_probe(step, train) or step == train.num_steps


@dataclass(frozen=True)
class TrainPlan:
    """The settings that decide what is trained; what must not change of them is in every checkpoint."""

    seed: int
    mixture: MixtureSettings
    model: ModelSettings
    optim: OptimSettings
    schedule: ScheduleSettings
    train: TrainSettings
    machine: MachineSettings
    base: str | None = None
    "Digest of the model that the run starts from."

    @property
    def rows_per_step(self) -> int:
        return self.train.batch_tokens // self.model.seq_len

    def lasting_steps(self) -> frozenset[int]:
        """Return the steps whose checkpoints stay besides the newest, under wsd: those to train on from.

        One from before the decay, and the last one that a run of more steps comes to as well: before the decay, the
        first sequences of whole length and the mixture's second stage. As a rule they are the same.
        """
        if self.schedule.name != "wsd":
            return frozenset()
        train, num_rows = self.train, self.train.num_steps * self.rows_per_step
        decay = decay_start(train.num_steps, self.schedule)
        halved = round(train.half_length_fraction * train.num_steps)
        stages = [int(stage.start * num_rows) // self.rows_per_step for stage in self.mixture.stages]
        shared = min([decay, *[step for step in (halved, *stages) if step]])
        return frozenset({shared} if decay - shared <= 1 else {shared, decay}) - {0}

    def is_save(self, step: int) -> bool:
        train = self.train
        return step % train.save_every == 0 or step == train.num_steps or step in self.lasting_steps()

    def identity(self) -> dict[str, Any]:
        """Return what must be equal between a checkpoint and the run that resumes from it, as far as settings say."""
        return {
            "seed": self.seed,
            "init": {"digest": self.base},
            "mixture": self.mixture.model_dump(),
            "model": self.model.model_dump(),
            "optim": self.optim.model_dump(),
            "schedule": self.schedule.model_dump(),
            "train": self.train.model_dump(
                include={"num_steps", "batch_tokens", "microbatch_tokens", "half_length_fraction"}
            )
            | {"exact": False},  # a setting that left: so that the checkpoints of before are of the same run
        }


def even_microbatch(batch_tokens: int, seq_len: int, wanted: int = 1) -> int:
    """Return the tokens of the microbatch that a run gets whose file says nothing.

    It is the largest even part of the batch up to 8192 tokens, for the caches of a CPU; of a batch that halves so far
    there are `wanted` of them, or more.
    """
    rows = batch_tokens // seq_len
    while rows % 2 == 0 and (rows * seq_len > 8192 or batch_tokens // (rows * seq_len) < wanted):
        rows //= 2
    return rows * seq_len
