"""A budget as a choice of runs, on devices of a table, the GPU at hand or the processor. No torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from headwater.core.errors import ConfigError, LayoutError
from headwater.core.numbers import size
from headwater.machine.parallel.settings import meshes_of, shared_layers
from headwater.machine.ranks.mesh import SAME_ROWS_AXES, Layout, Mesh
from headwater.machine.ranks.place import Place
from headwater.model.count import count_parameters
from headwater.model.optim.settings import block_rows_for
from headwater.model.settings import ModelSettings
from headwater.plan.forecast.budget import DIAL, Budget, BudgetPlan, Candidate, Query, model_of, search
from headwater.plan.forecast.device import WITHOUT_BF16, Accelerator, batches
from headwater.plan.forecast.work import checkpoint_bytes
from headwater.plan.hardware import Costs, Gpus, Hardware, gpu_to_use, hardware_of, work_of
from headwater.plan.layout import RECOMPUTED, layout_here
from headwater.plan.loss import law_of
from headwater.plan.rungs import ladder_runs, scaled_shapes
from headwater.plan.scaling import ScalingLaw
from headwater.plan.scaling.published import NATS, OwnRuns, PublishedLaw
from headwater.plan.scaling.repetition import OWN
from headwater.plan.text_size import tokens_of, usual_bytes_per_token
from headwater.plan.times import around_steps
from headwater.runfile.kept_settings import load_with_kept
from headwater.runfile.paths import of_split
from headwater.runfile.rules import rows_of_batch
from headwater.runfile.run_config import RunConfig, config_of_text
from headwater.train.checkpoint.layout import require_from_training
from headwater.train.settings import even_microbatch, fraction_repeated

NO_RUN = """
corpus.sources.text.paths = ["text"]
model.num_layers = 8
train.num_steps = 1000
"""
ON_DEVICES = ["tokenizer.vocab_size=65536", "model.seq_len=2048"]
ON_PROCESSOR = ["tokenizer.vocab_size=8192", "model.seq_len=256"]
"Where nothing says: nanochat's, and those of first-light's size."
SIZE_SETTINGS = {"family", "num_layers", "d_model", "d_ff", "num_heads", "num_kv_heads", "head_dim", "seq_len"}
TRIAL_ROWS = 1024  # of a batch, before the tokens of a run are known: so many that what comes once a step costs little


@dataclass(frozen=True)
class SearchOptions:
    """What was given, None where it wasn't; `place` is the first of the ranks, on `device` each.

    `config` is `searched_config` of the run and the overrides.
    """

    budget: Budget
    config: RunConfig
    place: Place
    run: str | None = None
    overrides: tuple[str, ...] = ()
    device: Accelerator | None = None
    text_bytes: float | None = None
    runs: Path | None = None
    loss_unit: str = "bits_per_byte"
    costs: Costs = field(default_factory=Costs)


def search_budget(options: SearchOptions) -> BudgetPlan:
    """Return the plan of a run whose text is prepared; raise ConfigError or DataError where there can be none."""
    config, here = options.config, _hardware(options)
    name, devices = "budget" if options.run is None else config.name, options.costs.applied(here.devices)
    query = Query(name, options.budget, options.budget.hours_on(devices), devices, *_text_of(options))
    models = _models(config, options.run is not None)
    law = law_of(options.runs) if options.runs else None
    if law is None and options.run and (rungs := ladder_runs(config)) is not None:
        law = ScalingLaw(rungs, OWN)
    losses = PublishedLaw() if law is None else OwnRuns(law, options.runs or config.folders.ladder)
    trials, candidates = Trials(here, options.place, config, 3600 * query.hours), list[Candidate]()
    for model in models:
        most_tokens = losses.most_epochs(count_parameters(model).total, query.unique) * query.unique
        if (found := trials.fastest(model, most_tokens)) is not None:
            candidates.append(found)
    if not candidates:
        raise ConfigError(
            f"no size fits: {count_parameters(models[0]).total:,} parameters (the smallest) need more memory, or a "
            f"larger batch, than {query.devices.num_devices} × {query.devices.device} allow; take other or more "
            "devices, or lower tokenizer.vocab_size or model.seq_len"
        )
    return search(query, candidates, losses, NATS if law is None else options.loss_unit, models)


def searched_config(run: str | None, overrides: Sequence[str], is_on_devices: bool) -> RunConfig:
    """Return the run's settings; without a run those of a usual one, with the settings that were given."""
    if run is not None:
        config, _ = load_with_kept(run, list(overrides))
        require_from_training(config.run_dir)
        return config
    usual = ON_DEVICES if is_on_devices or gpu_to_use("auto") else ON_PROCESSOR
    return config_of_text(NO_RUN, [*usual, *overrides])


def _models(config: RunConfig, is_run: bool) -> list[ModelSettings]:
    """Return the sizes of the dial, with the run's own model and smaller ones of its make; smallest first."""
    model = config.model
    own = scaled_shapes(model) if is_run else []
    found = [*own, *(model_of(layers, model.family, model.vocab_size, model.seq_len) for layers in DIAL)]
    return sorted(found, key=lambda each: count_parameters(each).total)


def _hardware(options: SearchOptions) -> Hardware:
    """Return the devices that were named, else the GPU at hand, else the processor.

    Raises LayoutError where the ranks don't fill the layout of the settings, which no size mends.
    """
    num_ranks, num_local = options.place.world_size, options.place.local_world_size
    meshes_of(options.config.parallel, num_ranks, num_local)
    here = hardware_of(options.config, ranks=Layout(Mesh(replicate=num_ranks), num_local), device=options.device)
    if isinstance(here, Gpus) and here.device.architecture in WITHOUT_BF16:
        raise ConfigError(
            f"{here.device.name} multiplies no bf16, and headwater trains in nothing narrower than float32 there: "
            "name another device"
        )
    return here


def _text_of(options: SearchOptions) -> tuple[float, str]:
    """Return how many different tokens of text there are, infinite where nothing says, and how that is known."""
    config, bytes_per_token = options.config, usual_bytes_per_token(options.config.model.vocab_size)
    by_rule = f", {bytes_per_token:.2f} bytes a token (a rule of thumb)"
    if options.text_bytes:
        return options.text_bytes / bytes_per_token, f"{size(options.text_bytes)} given{by_rule}"
    if options.run is None:
        return math.inf, "not given"
    found, sources, share = tokens_of(config, "train"), config.corpus.sources, config.mixture.share_of_text
    if not any(found.values()):
        raise ConfigError(
            f"how much text {config.name} has isn't known: none of its sources {', '.join(sources)} is found here; "
            "give --text-bytes, or mend the paths"
        )
    num_tokens, missing = sum(found.values()), [name for name in sources if name not in found]
    is_built = found == of_split(config.run_dir, "train")
    if is_built:
        how = f"{num_tokens:,} tokens built"
    elif all(sources[name].num_tokens for name in found):
        how = f"num_tokens of the sources of {config.name}, an estimate"
    else:
        how = f"the sources of {config.name} as they lie here{by_rule}"
    how += f"; nothing counted for {', '.join(missing)}" if missing else ""
    how += "" if share == 1 else f"; {share:.0%} of it are read (mixture.share_of_text)"
    return share * num_tokens, how


class Trials:
    """How each size may be trained on `here` in these seconds, each as the plan of such a run has it.

    But for the pages of its text, which the system takes back where memory is short: they decide no size.
    """

    def __init__(self, here: Hardware, place: Place, config: RunConfig, seconds: float) -> None:
        self.here, self.place, self.config, self.seconds = here, place, config, seconds
        # of steps that take a second a token, so that all but the start and the saves is in tokens
        parts = around_steps(config, float(config.train.batch_tokens))
        self._around = {name: part.median for name, part in parts.items()}

    def fastest(self, model: ModelSettings, most_tokens: float) -> Candidate | None:
        """Return how a size may be trained on at most that many tokens; None where it doesn't fit.

        The fastest of these, waiting counted: for each part of recomputed blocks the first batch that fits, of a
        processor the rule's, in the layout that training would choose.
        """
        rows, seq_len = TRIAL_ROWS, model.seq_len
        for _ in range(3):  # the time of a token depends on the batch, and the rule's batch on the tokens
            step = self.here.needs(self._trial(model, rows, rows, 0.0)).step.median
            num_tokens = min(most_tokens, self.seconds * rows * seq_len / step)
            rows = rows_of_batch(num_tokens, seq_len)
        tried = [(even_microbatch(rows * seq_len, seq_len) // seq_len, rows)]
        if isinstance(self.here, Gpus):
            tried = [pair for parts in self._parts(model) for pair in batches(parts, rows, seq_len)]
        trials = ([self._trial(model, batch, micro, recompute) for micro, batch in tried] for recompute in RECOMPUTED)
        fitting = [found for same in trials if (found := next(filter(None, map(self._candidate, same)), None))]
        return min(fitting, key=lambda each: each.seconds_per_token * (1 + each.waiting), default=None)

    def _parts(self, model: ModelSettings) -> list[int]:
        """Return how many ranks may have rows of their own, the most first: all, or those that layouts leave."""
        config, place = self.config, self.place
        exact, parallel = config.train.exact, config.parallel
        sizes = place.world_size, place.local_world_size, config.shortest_row
        shared = [parallel, *shared_layers(parallel, model, *sizes, exact=exact)]
        return sorted({max(1, place.world_size // each.size(*SAME_ROWS_AXES)) for each in shared}, reverse=True)

    def _candidate(self, trial: RunConfig) -> Candidate | None:
        """Return a run in the layout that its ranks would choose; None where it doesn't fit."""
        here, batch_tokens = self.here, trial.train.batch_tokens
        if self.place.world_size > 1:
            try:
                layout = layout_here(trial, self.place, here.device if isinstance(here, Gpus) else None)
            except LayoutError:
                return None
            here = replace(here, ranks=layout)
        needs = here.needs(trial)
        if needs.memory.band().p90 > here.devices.memory_limit:  # nine of ten such runs stay below it
            return None
        saves = checkpoint_bytes(trial.model, trial.optim) / checkpoint_bytes(self.config.model, self.config.optim)
        tokens_around = sum(self._around[name] for name in ("validations", "probes", "after"))
        fixed = self._around["start"] + self._around["checkpoints"] * saves
        again = f", {fraction:.0%} of the blocks recomputed" if (fraction := fraction_repeated(trial.train)) else ""
        layout_how, idle = f"{here.ranks}, {here.dtype}{again}", needs.waiting_seconds
        if idle:
            part = idle / (needs.step.median + idle)
            layout_how += f"; ranks wait {part:.0%} of a step, which isn't counted in the time"
        return Candidate(
            model=trial.model,
            batch_tokens=batch_tokens,
            seconds_per_token=needs.step.median / batch_tokens,
            memory=needs.memory,
            hours_deviation=needs.step.log_deviation,
            around_seconds=fixed + tokens_around * needs.step.median / batch_tokens,
            waiting=idle / needs.step.median,
            layout=layout_how,
            num_microbatches=work_of(trial, here.ranks).num_microbatches,
            settings=_settings(trial, here.ranks),
        )

    def _trial(self, model: ModelSettings, rows: int, micro: int, recompute: float) -> RunConfig:
        """Return the run with this model, batch, microbatch and part of recomputed blocks."""
        batch_tokens, microbatch_tokens = rows * model.seq_len, micro * model.seq_len
        sizes = {"batch_tokens": batch_tokens, "microbatch_tokens": microbatch_tokens, "recompute": recompute}
        blocks = {"block_rows": block_rows_for(model.d_model, model.d_ff, batch_tokens)}
        optim = self.config.optim.model_copy(update=blocks)
        return self.config.with_train(**sizes).model_copy(update={"model": model, "optim": optim})


def _settings(trial: RunConfig, ranks: Layout) -> dict[str, Any]:
    """Return what a run file, or overrides on the command line, say of a run so trained, but for its length."""
    model, train, mesh = trial.model, trial.train, ranks.mesh
    axes = ("shard", *SAME_ROWS_AXES) if mesh.world_size > 1 else ()
    return {
        **{f"model.{name}": value for name, value in model.model_dump(mode="json", include=SIZE_SETTINGS).items()},
        "tokenizer.vocab_size": model.vocab_size,
        "train.batch_tokens": train.batch_tokens,
        "train.microbatch_tokens": work_of(trial, ranks).microbatch_tokens,
        "train.recompute": train.recompute,
        **{f"parallel.{axis}": mesh.size(axis) for axis in axes},
    }
