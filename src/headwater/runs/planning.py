"""The forecast of a run from its settings and a plan's options, and where each number comes from.

No torch: what a probe measured comes as numbers.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from headwater.errors import ConfigError
from headwater.forecast.count import count_flops, count_params
from headwater.forecast.energy import site_or_average
from headwater.forecast.forecast_run import PART_WORDS, Limits, Outlook, Spread, check_positive, forecast
from headwater.forecast.shape import shape_of
from headwater.machine.memory import memory_bytes
from headwater.model.count import count_parameters, flops_per_token
from headwater.report.numbers import significant, time_unit
from headwater.runs.busy import busy_before
from headwater.runs.costs import Costs
from headwater.runs.epochs import epochs_or_none, most_epochs, notes_of_memorising
from headwater.runs.ladder_record import is_as_fast, read_ladder, unfinished_ladder
from headwater.runs.planned_device import Machinery, StartedRun, machinery
from headwater.runs.planned_ladder import disturbed, ladder_probe
from headwater.runs.planned_loss import LossOutlook, ladder_table, loss_outlook
from headwater.runs.planned_step import Probe
from headwater.runs.planned_text import notes_of_missing_text
from headwater.runs.planned_time import around_steps
from headwater.runs.run_config import RunConfig
from headwater.runs.rung_times import NOT_MEASURED

LossUnit = Literal["bits_per_byte", "nats_per_token"]


@dataclass(frozen=True)
class PlanOptions:
    """The options of a plan besides the run; None or "" where not given. `loss_unit` is that of the table."""

    runs: Path | None = None
    loss_unit: LossUnit = "bits_per_byte"
    max_hours: float | None = None
    max_money: float | None = None
    target_loss: float | None = None
    costs: Costs = field(default_factory=Costs)

    def check(self) -> None:
        """Raise ConfigError for a number that can't be."""
        for name in ("max_hours", "max_money", "target_loss"):
            check_positive(f"--{name.replace('_', '-')}", getattr(self, name))
        self.costs.require_of_a_run()


def loss_unit_of(name: str) -> LossUnit:
    """Return the unit of a loss by its name; raise ConfigError for another."""
    for known in get_args(LossUnit):
        if name == known:
            return known
    raise ConfigError(f"--loss-unit {name!a} is none of {', '.join(get_args(LossUnit))}")


def with_ladder(config: RunConfig, options: PlanOptions) -> PlanOptions:
    """Return the options with the table of the run's own ladder where no table is named and there is one.

    Of a ladder that isn't done there is no table, and its loss is in bits per byte, too.
    """
    if options.runs is not None:
        return options
    table = ladder_table(config)
    if table is None and unfinished_ladder(config) is None:
        return options
    return replace(options, runs=table, loss_unit="bits_per_byte")


def plan_run(
    config: RunConfig, options: PlanOptions, probe: Probe | None = None, started: StartedRun | None = None
) -> dict[str, Any]:
    """Return what `headwater plan RUN --json` prints. Raises ConfigError or DataError for what can't be answered.

    `started` is what this process knows, where it is the run's own and has made the model and its optimizer.
    """
    options.check()
    missing = notes_of_missing_text(config)
    rungs = read_ladder(config)
    disturbances: list[str] = []
    if probe is None and rungs and is_as_fast(config):
        probe = ladder_probe(config, rungs)
        disturbances = disturbed(rungs, probe)
    found = machinery(config, probe, started)
    loss = loss_outlook(config, options.runs)
    outlook = _outlook(config, options, found, loss, probe)
    limits = Limits(
        options.max_hours, options.max_money, options.target_loss, found.memory_limit_bytes or memory_bytes()
    )
    result = forecast(outlook, limits)
    result |= {"name": config.name, "counts": counts(config), "how": outlook.how}
    result["loss_unit"] = options.loss_unit
    result["step_seconds"] = found.step.median
    result["limits"] = asdict(limits)
    heart = notes_of_memorising(config) if loss.spread is None else []
    result["notes"] = [*missing, *loss.notes, *heart, *disturbances, *_notes(found, probe)]
    if loss.refused is not None:
        result["loss_refused"] = loss.refused
    return result


def require_fits(plan: dict[str, Any]) -> None:
    """Raise ConfigError where a run more likely than not needs more memory than there is: a probe would hang here."""
    chance = plan["probabilities"]["over_memory"]
    if chance is not None and chance > 0.5:
        needed, limit = plan["memory_gib"]["p50"], plan["limits"]["memory_bytes"] / 2**30
        raise ConfigError(
            f"no probe: the run needs about {significant(needed)} GiB and there are {significant(limit)}; lower "
            "train.microbatch_tokens or the model, or drop --probe"
        )


def _notes(found: Machinery, probe: Probe | None) -> list[str]:
    """Return a note where the processor is under load."""
    if not found.is_processor:
        return []
    busy = probe.busy if probe is not None and probe.busy is not None else busy_before()
    return [] if busy is None else [busy]


def counts(config: RunConfig) -> dict[str, Any]:
    """Return parameters, tokens and FLOPs of the run, exact; a token's FLOPs are those in a whole row.

    `epochs` are those of the source that is read most often, None where that isn't known.
    """
    shape = shape_of(config.model)
    params, tokens = count_params(shape), config.train.num_steps * config.train.batch_tokens
    flops, by_source = count_flops(shape), epochs_or_none(config)
    return {
        "params": params.total,
        "active_params": params.active,
        "embedding_params": params.embedding,
        "tokens": tokens,
        "num_steps": config.train.num_steps,
        "epochs": most_epochs(by_source) if by_source else None,
        "flops_per_token": asdict(flops),
        "flops": flops_per_token(config.model, config.train.half_length_fraction) * tokens,
        "tokens_per_parameter": tokens / count_parameters(config.model).total,
    }


def _outlook(
    config: RunConfig, options: PlanOptions, found: Machinery, loss: LossOutlook, probe: Probe | None
) -> Outlook:
    around = around_steps(config, found.step.median, NOT_MEASURED if probe is None else probe.around)
    seconds = {"steps": Spread(found.step.median * config.train.num_steps, found.step.log_deviation)}
    costs = options.costs
    site, pue, power_how = site_or_average(costs.site, costs.sites)
    watts = found.watts if costs.watts is None else Spread(costs.watts)
    price = found.usd_per_hour if costs.price_per_hour is None else Spread(costs.price_per_hour)
    medians = {name: part.median for name, part in {**seconds, **around.seconds}.items()}
    unit, scale = time_unit(sum(medians.values()))
    parts = f"in {unit}: " + ", ".join(
        f"{PART_WORDS.get(name, name)} {significant(part / scale)}" for name, part in medians.items() if part
    )
    watts_how = found.watts_how if costs.watts is None else f"{costs.watts:g} W of the costs file"
    money_how = f"${costs.price_per_hour} an hour, of the costs file" if costs.price_per_hour else found.price_how
    how = {
        "hours": f"{config.train.num_steps} steps of {found.step.median:.3g} s, {found.step_how}; {parts}; "
        + around.how,
        "memory_gib": found.memory_how,
        "energy_kwh": f"{watts_how}, {power_how}",
        "money": money_how,
        "loss": loss.how,
    }
    return Outlook(
        seconds={**seconds, **around.seconds},
        watts=watts,
        pue=pue,
        kg_co2_per_kwh=site.kg_co2_per_kwh,
        memory_bytes=found.memory,
        usd_per_hour=price,
        loss=loss.spread,
        how=how,
    )
