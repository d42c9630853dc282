"""Sizes that a budget chooses among, and how each would be trained on the hardware at hand. No torch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from headwater.core.errors import LayoutError
from headwater.machine.parallel.settings import meshes_of
from headwater.machine.ranks.mesh import DATA_AXES, SAME_ROWS_AXES, Place
from headwater.model.count import ParameterCount, count_parameters
from headwater.model.optim.settings import block_rows_for
from headwater.model.settings import Family, ModelSettings
from headwater.plan.forecast.result import Spread, checkpoint_bytes
from headwater.plan.hardware import Gpus, Hardware, work_of
from headwater.plan.layout import RECOMPUTED, layout_here
from headwater.plan.rungs import scaled_shapes
from headwater.runfile.given import Given
from headwater.runfile.rules import by_rules, rows_of_batch
from headwater.runfile.run_config import RunConfig
from headwater.train.settings import even_microbatch, fraction_repeated

DIAL = (*range(2, 17), *range(18, 33, 2), *range(36, 65, 4), 72, 80, 88, 96)
"Numbers of layers to choose among: up to 44 billion parameters, more than any one device of the table holds."
SIZE_SETTINGS = {"family", "num_layers", "d_model", "d_ff", "num_heads", "num_kv_heads", "head_dim", "seq_len"}
TRIAL_ROWS = 1024  # of a batch, before the tokens of a run are known: so many that what comes once a step costs little
MAX_BATCH_FACTOR = 2.0
"""A batch further from the rule's isn't offered. A doubling costs 0.4 % of the loss: the grids of Step Law
(arXiv:2503.04715), 17 cells of about 110 runs."""
MAX_MICROBATCH_TOKENS = 65_536  # on a GPU


@dataclass(frozen=True)
class CandidateSize:
    """One size and how it would be trained; `settings` are those of its run file, but for the number of steps.

    `seconds_per_token` is of all ranks, `around_seconds` come once. Memory is in bytes of one device; `hours_deviation`
    is of the logarithm.
    """

    model: ModelSettings
    batch_tokens: int
    seconds_per_token: float
    memory: Spread
    hours_deviation: float
    around_seconds: float = 0.0
    layout: str = ""
    num_microbatches: int = 1
    settings: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def size(self) -> ParameterCount:
        return count_parameters(self.model)

    def seconds(self, tokens: float) -> float:
        """Return the time of a run of `tokens`."""
        return self.around_seconds + self.seconds_per_token * tokens


def model_of(num_layers: int, family: Family, vocab_size: int, seq_len: int) -> ModelSettings:
    """Return the shape that the rules give where nothing but its number of layers is set."""
    given = {"num_layers": num_layers, "family": family, "vocab_size": vocab_size, "seq_len": seq_len}
    shape = Given({"model": given})
    return ModelSettings.model_validate(shape.with_decided(by_rules(shape)).get("model"))


def models_of(config: RunConfig, *, is_run: bool) -> list[ModelSettings]:
    """Return the sizes of the dial, with the run's own model and smaller ones of its make; smallest first."""
    model = config.model
    own = scaled_shapes(model) if is_run else []
    found = [*own, *(model_of(layers, model.family, model.vocab_size, model.seq_len) for layers in DIAL)]
    return sorted(found, key=lambda each: count_parameters(each).total)


def fastest(
    config: RunConfig,
    place: Place,
    here: Hardware,
    model: ModelSettings,
    most_tokens: float,
    seconds: float,
    around: dict[str, float],
) -> CandidateSize | None:
    """Return how a size may be trained on at most that many tokens; None where it doesn't fit.

    The fastest of these: for each part of recomputed blocks the largest microbatch that fits.
    """
    rows, seq_len = TRIAL_ROWS, model.seq_len
    for _ in range(3):  # the time of a token depends on the batch, and the rule's batch on the tokens
        step = here.needs(_trial(config, model, rows, rows, 0.0)).step.median
        rows = rows_of_batch(min(most_tokens, seconds * rows * seq_len / step), seq_len)
    micros = [even_microbatch(rows * seq_len, seq_len) // seq_len]
    if isinstance(here, Gpus):
        mesh = meshes_of(config.parallel, place.world_size, place.local_world_size)[0]
        whole = mesh.size(*DATA_AXES) * max(1, round(rows / mesh.size(*DATA_AXES)))
        rows = whole if whole <= MAX_BATCH_FACTOR * rows else rows  # else ranks have to share layers
        most = min(max(1, MAX_MICROBATCH_TOKENS // seq_len), max(1, rows // mesh.size(*DATA_AXES)))
        micros = [micro for micro in range(most, 0, -1) if micro & (micro - 1) == 0 and rows % micro == 0]
    tried = ((_trial(config, model, rows, micro, part) for micro in micros) for part in RECOMPUTED)
    fitting = [
        found
        for same in tried
        if (found := next(filter(None, (_fit(config, place, here, each, around) for each in same)), None))
    ]
    return min(fitting, key=lambda each: each.seconds_per_token, default=None)


def _trial(config: RunConfig, model: ModelSettings, rows: int, micro: int, recompute: float) -> RunConfig:
    """Return the run with this model, batch, microbatch and part of recomputed blocks."""
    batch_tokens, microbatch_tokens = rows * model.seq_len, micro * model.seq_len
    sizes = {"batch_tokens": batch_tokens, "microbatch_tokens": microbatch_tokens, "recompute": recompute}
    blocks = {"block_rows": block_rows_for(model.d_model, model.d_ff, batch_tokens)}
    optim = config.optim.model_copy(update=blocks)
    return config.with_train(**sizes).model_copy(update={"model": model, "optim": optim})


def _fit(
    config: RunConfig, place: Place, here: Hardware, trial: RunConfig, around: dict[str, float]
) -> CandidateSize | None:
    """Return a run in the layout that its ranks would choose; None where it doesn't fit.

    The pages of its text, which the system takes back where memory is short, decide no size. `around` are the seconds
    of what comes beside steps, of the run that was given with steps of a second a token.
    """
    batch_tokens = trial.train.batch_tokens
    if place.world_size > 1:
        try:
            layout = layout_here(trial, place, here.device if isinstance(here, Gpus) else None)
        except LayoutError:
            return None
        here = replace(here, ranks=layout)
    needs = here.needs(trial)
    if needs.memory.band().p90 > here.devices.memory_limit:  # nine of ten such runs stay below it
        return None
    saves = checkpoint_bytes(trial.model, trial.optim) / checkpoint_bytes(config.model, config.optim)
    tokens_around = sum(around[name] for name in ("validations", "probes", "after"))
    again = f", {fraction:.0%} of the blocks recomputed" if (fraction := fraction_repeated(trial.train)) else ""
    layout_how = f"{here.ranks}, {here.dtype}{again}"
    work, mesh, model = work_of(trial, here.ranks), here.ranks.mesh, trial.model
    axes = ("shard", *SAME_ROWS_AXES) if mesh.world_size > 1 else ()
    return CandidateSize(
        model=model,
        batch_tokens=batch_tokens,
        seconds_per_token=needs.step.median / batch_tokens,
        memory=needs.memory,
        hours_deviation=needs.step.log_deviation,
        around_seconds=around["start"]
        + around["checkpoints"] * saves
        + tokens_around * needs.step.median / batch_tokens,
        layout=layout_how,
        num_microbatches=work.num_microbatches,
        settings={
            **{f"model.{name}": value for name, value in model.model_dump(mode="json", include=SIZE_SETTINGS).items()},
            "tokenizer.vocab_size": model.vocab_size,
            "train.batch_tokens": batch_tokens,
            "train.microbatch_tokens": work.microbatch_tokens,
            "train.recompute": trial.train.recompute,
            **{f"parallel.{axis}": mesh.size(axis) for axis in axes},
        },
    )
