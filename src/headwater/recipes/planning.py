"""A run's settings, and what was asked, as a forecast: which numbers are known here, and where each comes from.

No torch: what a probe measured comes as numbers.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from headwater.errors import ConfigError
from headwater.machine.memory import memory_bytes
from headwater.model.count import count_parameters, flops_per_token
from headwater.plan.count import count_flops, count_params
from headwater.plan.energy import site_or_average
from headwater.plan.forecast_run import Limits, Outlook, Spread, check_positive, forecast
from headwater.plan.shape import shape_of
from headwater.recipes.busy import busy_before
from headwater.recipes.ladder_record import begun_ladder, is_as_fast, read_ladder
from headwater.recipes.planned_device import Begun, Machinery, machinery
from headwater.recipes.planned_ladder import disturbed, ladder_probe
from headwater.recipes.planned_loss import LossOutlook, ladder_table, loss_outlook
from headwater.recipes.planned_step import Probe
from headwater.recipes.planned_text import notes_of_missing_text
from headwater.recipes.planned_time import around_steps
from headwater.recipes.readings import most_times, notes_of_heart, readings_or_none
from headwater.recipes.run_config import RunConfig
from headwater.recipes.rung_times import NOT_MEASURED
from headwater.report.numbers import significant, time_unit

LossUnit = Literal["bits_per_byte", "nats_per_token"]


@dataclass(frozen=True)
class Questions:
    """What a person asked besides the run; None or "" where nothing was said. `loss_unit` is that of the table."""

    runs: Path | None = None
    loss_unit: LossUnit = "bits_per_byte"
    max_hours: float | None = None
    max_money: float | None = None
    target_loss: float | None = None
    price_per_hour: float | None = None
    watts: float | None = None
    site: str = ""
    sites: Path | None = None

    def check(self) -> None:
        """Raise ConfigError for a number that can't be."""
        for name in ("max_hours", "max_money", "target_loss", "price_per_hour", "watts"):
            check_positive(f"--{name.replace('_', '-')}", getattr(self, name))


def loss_unit_of(name: str) -> LossUnit:
    """Return the unit of a loss by its name; raise ConfigError for another."""
    for known in get_args(LossUnit):
        if name == known:
            return known
    raise ConfigError(f"--loss-unit {name!a} is none of {', '.join(get_args(LossUnit))}")


def with_ladder(config: RunConfig, asked: Questions) -> Questions:
    """Return the questions with the table of the run's own ladder where no table is named and there is one.

    Of a ladder that isn't done there is no table, and its loss is in bits per byte, too.
    """
    if asked.runs is not None:
        return asked
    table = ladder_table(config)
    if table is None and begun_ladder(config) is None:
        return asked
    return replace(asked, runs=table, loss_unit="bits_per_byte")


def plan_run(
    config: RunConfig, asked: Questions, probe: Probe | None = None, begun: Begun | None = None
) -> dict[str, Any]:
    """Return what `headwater plan RUN --json` prints. Raises ConfigError or DataError for what can't be answered.

    `begun` is what this process knows, where it is the run's own and has made the model and its optimizer.
    """
    asked.check()
    missing = notes_of_missing_text(config)
    rungs = read_ladder(config)
    disturbances: list[str] = []
    if probe is None and rungs and is_as_fast(config):
        probe = ladder_probe(config, rungs)
        disturbances = disturbed(rungs, probe)
    found = machinery(config, probe, begun)
    loss = loss_outlook(config, asked.runs)
    outlook = _outlook(config, asked, found, loss, probe)
    limits = Limits(asked.max_hours, asked.max_money, asked.target_loss, found.memory_limit_bytes or memory_bytes())
    result = forecast(outlook, limits)
    result |= {"name": config.name, "counts": counts(config), "how": outlook.how}
    result["loss_unit"] = asked.loss_unit
    result["step_seconds"] = found.step.median
    result["limits"] = asdict(limits)
    heart = notes_of_heart(config) if loss.spread is None else []
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
            "train.microbatch_tokens or the model, or leave --probe out"
        )


def _notes(found: Machinery, probe: Probe | None) -> list[str]:
    """Return what makes a reader's own times differ: other programs, where a processor computes."""
    if not found.is_processor:
        return []
    busy = probe.busy if probe is not None and probe.busy is not None else busy_before()
    return [] if busy is None else [busy]


def counts(config: RunConfig) -> dict[str, Any]:
    """Return parameters, tokens and FLOPs of the run, exact; a token's FLOPs are those in a whole row.

    `epochs` is how often the source that is read most is read, None where that isn't known.
    """
    shape = shape_of(config.model)
    params, tokens = count_params(shape), config.train.num_steps * config.train.batch_tokens
    flops, readings = count_flops(shape), readings_or_none(config)
    return {
        "params": params.total,
        "active_params": params.active,
        "embedding_params": params.embedding,
        "tokens": tokens,
        "num_steps": config.train.num_steps,
        "epochs": most_times(readings) if readings else None,
        "flops_per_token": asdict(flops),
        "flops": flops_per_token(config.model, config.train.half_length_fraction) * tokens,
        "tokens_per_parameter": tokens / count_parameters(config.model).total,
    }


def _outlook(config: RunConfig, asked: Questions, found: Machinery, loss: LossOutlook, probe: Probe | None) -> Outlook:
    around = around_steps(config, found.step.median, NOT_MEASURED if probe is None else probe.around)
    seconds = {"steps": Spread(found.step.median * config.train.num_steps, found.step.log_deviation)}
    site, pue, power_how = site_or_average(asked.site, asked.sites)
    watts = found.watts if asked.watts is None else Spread(asked.watts)
    price = found.usd_per_hour if asked.price_per_hour is None else Spread(asked.price_per_hour)
    medians = {name: part.median for name, part in {**seconds, **around.seconds}.items()}
    unit, scale = time_unit(sum(medians.values()))
    parts = f"in {unit}: " + ", ".join(f"{name} {significant(part / scale)}" for name, part in medians.items() if part)
    how = {
        "hours": f"{config.train.num_steps} steps of {found.step.median:.3g} s, {found.step_how}; {parts}; "
        + around.how,
        "memory_gib": found.memory_how,
        "energy_kwh": f"{found.watts_how if asked.watts is None else f'--watts {asked.watts:g}'}, {power_how}",
        "money": found.price_how if asked.price_per_hour is None else f"--price-per-hour {asked.price_per_hour:g}",
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
