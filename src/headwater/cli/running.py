"""Run all stages of a run, with a card before training and one after it; or replay one."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.checkpoint.lock import Owner, owned
from headwater.cli.explaining import heads
from headwater.cli.terminal import TrainingDisplay, against_forecast, card, intervention_line, say, say_aside
from headwater.durations import duration
from headwater.forecast.before import plan_fields, require_memory
from headwater.machine.memory import memory_bytes
from headwater.machine.place import Place
from headwater.machine.settings import FORMATS
from headwater.model.count import count_parameters
from headwater.optim.rules import Reason
from headwater.report.measures import baselines
from headwater.report.numbers import count, size
from headwater.report.outcome import forecast_error, outcomes_of
from headwater.report.run_data import RunData, amount, read_run
from headwater.runs.paths import Folders, require_run_dir
from headwater.runs.planning import PlanOptions
from headwater.runs.run_config import RunConfig
from headwater.runs.stages import StageKeys, Timings, is_trained, prepare_data, write_config

if TYPE_CHECKING:
    from headwater.machine.ranks import Ranks
    from headwater.runs.rows import RunText

Own = Callable[[Path], AbstractContextManager[Owner]]


@dataclass(frozen=True)
class Call:
    """How a verb was called.

    questions    what its forecast is made from
    own          how it locks the run folder: lock.owned or lock.taken_over
    place        which of several ranks this process is
    stop_within  seconds from a SIGTERM to its end
    """

    questions: PlanOptions
    own: Own
    place: Place
    stop_within: float


def run_all_stages(config: RunConfig, reasons: list[Reason], call: Call) -> bool:
    """Bring every stage up to date; return False when a signal stopped training, saved where there was time.

    Of several ranks the first prepares and finishes; the others train.
    """
    started_at = time.perf_counter()
    if call.place.rank:
        return _follow(config, call)
    with call.own(config.run_dir) as owner:
        if not _data_and_training(config, reasons, call, owner):
            return False
        evaluation = _after_training(config, owner)
    _closing_card(config, evaluation, time.perf_counter() - started_at)
    return True


def run_training(config: RunConfig, reasons: list[Reason], call: Call) -> bool:
    """Bring the data up to date and train to the last step; return False when a signal stopped it."""
    if call.place.rank:
        return _follow(config, call)
    with call.own(config.run_dir) as owner:
        return _data_and_training(config, reasons, call, owner)


def run_replay(config: RunConfig) -> bool:
    """Train a run a second time, apart from it, and print whether every bit was the same; return that."""
    from headwater.runs.replaying import replay_run

    require_run_dir(config.run_dir)
    with owned(config.run_dir):
        found, interventions = replay_run(config, TrainingDisplay(config.train), say)
    for entry in interventions:
        say(intervention_line(entry))
    if found.difference is None:
        followed = f"{len(interventions)} intervention{'' if len(interventions) == 1 else 's'}"
        say(f"replayed bitwise: {found.num_steps} steps, {followed}, state {found.digest}")
    else:
        say(f"differs: {found.difference}; the replay is kept in {config.run_dir}/replay-…")
    return found.difference is None


def _follow(config: RunConfig, call: Call) -> bool:
    """Train with the first rank, which joins when it has prepared the data, where there is something to train."""
    from headwater.machine.ranks import join_ranks
    from headwater.runs.training import follow_training

    ranks = join_ranks(call.place)
    try:
        return follow_training(config, ranks, call.stop_within) if ranks.from_first(None) else True
    finally:
        ranks.leave()


def _data_and_training(config: RunConfig, reasons: list[Reason], call: Call, owner: Owner) -> bool:
    timings = Timings()
    if owner.note:
        say(owner.note)
    require_memory(config.model, config.optim, memory_bytes(), exact=config.train.exact)
    with _named_if_stopped(timings):
        prepare_data(config, say, timings, owner.require)
    if timings.seconds:
        StageKeys(config.run_dir, owner.require).keep_seconds(timings.seconds)
        say("prepared " + ", ".join(f"{stage} in {seconds:.1f} s" for stage, seconds in timings.seconds.items()))
    write_config(config, reasons, owner.require)
    return _training(config, call, owner, is_fresh=bool(timings.seconds))


def _training(config: RunConfig, call: Call, owner: Owner, *, is_fresh: bool) -> bool:
    from headwater.machine.ranks import join_ranks
    from headwater.runs.rows import open_or_rebuild_text

    # where a stage was made again, training compares the rows with its checkpoint's, and ends immediately
    text = open_or_rebuild_text(config, say, owner.require) if is_fresh or not is_trained(config) else None
    ranks = join_ranks(call.place)
    try:
        if ranks.from_first(text is not None) and text is not None:
            return _train(config, call, owner, ranks, text)
    finally:
        ranks.leave()
    say(f"training is up to date: {config.run_dir} has step {config.train.num_steps}")
    return True


def _train(config: RunConfig, call: Call, owner: Owner, ranks: Ranks, text: RunText) -> bool:
    from headwater.runs.training import Circumstances, mixture_fields, train_stage

    num_tokens = config.train.num_steps * config.train.batch_tokens
    plan = plan_fields(config.model, config.optim, num_tokens, config.train.half_length_fraction)
    sources = mixture_fields(text.batches, config)

    def opening(dtype: str) -> None:
        card(f"headwater · {config.name}", plan_lines(config, plan, sources, dtype))

    display = TrainingDisplay(config.train, opening=opening)
    around = Circumstances(call.questions, text, owner.require, ranks, call.stop_within)
    return train_stage(config, display, say, plan, around)


def plan_lines(
    config: RunConfig, plan: dict[str, Any], sources: dict[str, dict[str, float]], dtype: str
) -> list[tuple[str, str]]:
    model, parameters, train, schedule = config.model, count_parameters(config.model), config.train, config.schedule
    total = sum(source["tokens"] for source in sources.values())
    parts = (f"{name} {one['tokens'] / total:.0%} ({one['epochs']:.2f} epochs)" for name, one in sources.items())
    size_of = f"{count(parameters.total)} parameters ({count(parameters.embedding)} embedding)"
    shape = f"{model.num_layers} layers × {model.d_model}, {heads(model)}, vocabulary {model.vocab_size}"
    tokens = f"{train.num_steps} steps × {count(train.batch_tokens)} = {count(plan['num_tokens'])} tokens"
    per_parameter = f"({plan['tokens_per_parameter']:.1f} a parameter)"
    rates = f"{config.optim.name} at {config.optim.matrix_lr:g}, {schedule.name}"
    return [
        ("model", f"{model.family}, {size_of}, {shape}"),
        ("training", f"{tokens} {per_parameter}, {plan['flops']:.2e} FLOPs"),
        ("mixture", ", ".join(parts)),
        ("update", f"{rates} with {schedule.warmup_steps} warm-up steps"),
        ("format", FORMATS[dtype]),
        ("memory", f"{size(plan['state_bytes'])} for weights, gradients and optimizer state"),
        ("folder", str(config.run_dir)),
        ("settings", f"headwater explain {shlex.quote(str(config.run_dir))} says who set what, and why"),
    ]


def _after_training(config: RunConfig, owner: Owner) -> dict[str, Any]:
    from headwater.runs.finish import finish_run

    timings = Timings()
    with _named_if_stopped(timings):
        return finish_run(config, say, timings, owner.require)


@contextmanager
def _named_if_stopped(timings: Timings) -> Iterator[None]:
    """Say which stage a signal stopped; the command itself says how to resume."""
    try:
        yield
    except KeyboardInterrupt:
        if timings.under_way is not None:
            say_aside(f"the stage {timings.under_way} was stopped before its end")
        raise


def _closing_card(config: RunConfig, evaluation: dict[str, Any], seconds: float) -> None:
    found = read_run(config.run_dir)
    trained = amount(found.last("finish"), "seconds") or 0.0
    earlier = f" ({duration(trained)} of training in all)" if trained > seconds else ""
    run = shlex.quote(str(config.run_dir))
    first, second = [*config.train.prompts, "The", "In the"][:2]
    card(
        f"{config.name} is done in {duration(seconds)}{earlier}",
        [
            *evaluation_lines(evaluation),
            *forecast_lines(found),
            ("report", str(config.run_dir / "report.html")),
            ("model", f"{Folders(config.run_dir).hf} (transformers, vLLM, TRL)"),
            ("next", f"headwater next {shlex.quote(first)} --run {run}"),
            ("", f"headwater generate {shlex.quote(second)} --run {run}"),
            ("", f"headwater corpus show --run {run}"),
        ],
    )


def forecast_lines(run: RunData) -> list[tuple[str, str]]:
    """Return every fact that was measured against its forecast, and the score; nothing without a forecast."""
    found = [outcome for outcome in outcomes_of(run) if outcome.fact is not None and outcome.is_counted]
    lines = [(outcome.quantity, against_forecast(outcome)) for outcome in found]
    error = forecast_error(found)
    return lines if error is None else [*lines, ("forecast error", f"{error:.1%} (0 is perfect; see the report)")]


def evaluation_lines(evaluation: dict[str, Any]) -> list[tuple[str, str]]:
    bits = evaluation["bits_per_byte"]
    named = {"all held-out text" if name == "all" else name: value for name, value in bits.items()}
    lines = [("bits per byte", ", ".join(f"{name} {value:.3f}" for name, value in named.items()))]
    others = ", ".join(f"{name} {value:.3f}" for name, value in baselines(evaluation).items())
    if others and "bits_per_byte_real_text" in evaluation:
        lines.append(("on real text", f"{evaluation['bits_per_byte_real_text']:.3f} ({others})"))
    if evaluation.get("abilities"):
        lines.append(("probes", ", ".join(f"{name} {value:.0%}" for name, value in evaluation["abilities"].items())))
    return lines


def print_evaluation(evaluation: dict[str, Any]) -> None:
    for name, text in evaluation_lines(evaluation):
        print(f"{name:<14} {text}")
