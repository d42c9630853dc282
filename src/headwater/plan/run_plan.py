"""The forecast of a run from its settings, its ladder and earlier runs here, and as JSON. No torch.

What a run begins with is kept in RUN/forecast.json, made when the text is prepared and before the first step. A resume
leaves it as it is, to the byte; a run that starts from step 0 again gets a new one; one that resumes with other
settings loses it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.core.errors import ConfigError, LockedError
from headwater.core.files import digest_json, read_json_or_none, remove_file, write_json
from headwater.core.numbers import step_time
from headwater.core.owners import require_owner
from headwater.machine.host.load import LoadMeter, busy_now
from headwater.machine.ranks.mesh import Layout
from headwater.model.count import count_fields, count_model, flops_per_token
from headwater.plan.forecast.result import FORECAST_FORMAT, LossOutlook, RunLimits, Spread, forecast
from headwater.plan.hardware import Costs, Processor, hardware_of
from headwater.plan.text_size import Epochs, epochs_of, missing_text, notes_of_text, token_bytes
from headwater.plan.times import around_steps
from headwater.runfile.paths import Say
from headwater.runfile.run_config import RunConfig, made_for

if TYPE_CHECKING:
    from headwater.plan.forecast.device import Accelerator

NO_RUNS = (
    "no loss without runs to forecast from: `headwater ladder RUN` trains small ones (a run of fewer than 400 steps is "
    "better trained itself); or give --runs CSV --loss-unit UNIT, at least six finished runs on this text"
)
FORECAST_VERSION = 1


def plan_run(
    config: RunConfig,
    runs: Path | None = None,
    loss_unit: str = "bits_per_byte",
    limits: RunLimits | None = None,
    costs: Costs | None = None,
    layout: Layout | None = None,
    device: Accelerator | None = None,
    dtype: str | None = None,
) -> dict[str, Any]:
    """Return the plan of a run as `headwater plan RUN --json` prints it: its forecast, and what that comes from.

    `runs` is a table of runs, or a ladder's run file, with losses in `loss_unit`. `layout` is how the run's ranks lie,
    of which there is one unless it is given, on `device`, else on this machine. `dtype` is what it computes in, where
    that is known. Raises ConfigError or DataError for what can't be answered.
    """
    layout, costs = layout or Layout(), costs or Costs()
    meter, config = LoadMeter(), config.with_layout(layout)
    try:
        epochs = epochs_of(config)
    except ConfigError:  # of its caps of epochs
        epochs = Epochs({})
    here = hardware_of(config, dtype, layout, device)
    loss = _loss(config, runs, loss_unit)
    needs = here.needs(config, token_bytes(config))
    devices = costs.applied(here.devices)
    limits = replace(limits or RunLimits(), memory_bytes=devices.memory_limit)
    load = load_note(meter) if isinstance(here, Processor) else None
    notes = [*notes_of_text(config, epochs), *loss.notes]
    step, num_steps = needs.step, config.train.num_steps
    seconds = {"steps": Spread(step.median * num_steps), **around_steps(config, step.median)}
    how = {
        "hours": f"{num_steps} steps of {step_time(step.median)}, {needs.step_how}",
        "memory_gb": needs.memory_how,
        "energy_kwh": devices.energy_how,
        "money": devices.price_how,
        **({"ranks": layout.why} if layout.why else {}),
    }
    found = {
        "name": config.name,
        "counts": _counts(config, epochs),
        "step_seconds": step.median,
        "limits": asdict(limits),
        "loss_unit": loss_unit if runs and config.init is None else "bits_per_byte",
        "loss_refused": None if loss.spread else loss.how,
        "ranks": sizes_of(layout),
        "missing_text": missing_text(config),
        "notes": [*notes, load] if load else notes,
    }
    bands = asdict(forecast(seconds, step.log_deviation, needs.memory, loss, devices, limits, how))
    return bands | {name: value for name, value in found.items() if value is not None}


def sizes_of(layout: Layout) -> dict[str, int] | None:
    """Return how several ranks lie; None where there is one."""
    mesh = layout.mesh
    return {**asdict(mesh), "machines": layout.num_machines} if mesh.world_size > 1 else None


def _loss(config: RunConfig, runs: Path | None, loss_unit: str) -> LossOutlook:
    """Return what the table says, without one the run's own ladder; or why there is no loss."""
    if config.init is not None:
        from headwater.plan.loss_outlook import outlook_from_base

        return outlook_from_base(config, runs, loss_unit)
    if runs is None and not config.folders.ladder.is_dir():
        return LossOutlook(None, NO_RUNS)
    from headwater.plan.loss_outlook import loss_outlook  # a law: without rows nothing of it is loaded

    return loss_outlook(config, runs) or LossOutlook(None, NO_RUNS)


def load_note(meter: LoadMeter | None = None) -> str | None:
    """Return a note on forecasts made under load, as `busy_now` has it; None on a quiet machine."""
    if (note := busy_now(meter)) is None:
        return None
    return (
        f"{note}. The forecast assumes an idle machine; expect about twice its time, or more. Stop them, "
        "wait, or leave them a core (machine.num_threads)"
    )


def _counts(config: RunConfig, epochs: Epochs) -> dict[str, Any]:
    """Return parameters, tokens and FLOPs of the run, exact; a token's FLOPs are those in a whole row.

    `epochs` are those of the source that is read most often, None where that isn't known.
    """
    counted, train = count_fields(count_model(config.model)), config.train
    tokens = train.num_steps * train.batch_tokens
    return counted | {
        "tokens": tokens,
        "num_steps": train.num_steps,
        "epochs": epochs.most if epochs.by_source else None,
        "flops": flops_per_token(config.model, train.half_length_fraction) * tokens,
        "tokens_per_parameter": tokens / counted["params"],
    }


def forecast_of_run(
    config: RunConfig,
    step: int,
    say: Say,
    clock: Callable[[], float],
    dtype: str | None = None,
    layout: Layout | None = None,
) -> dict[str, Any] | None:
    """Return the run's forecast, made and written now where it begins at step 0; None where there is none.

    `dtype` is what the run computes in. Raises nothing but LockedError, when the run was taken over: a run is worth
    more than its forecast. What went wrong is said.
    """
    path = config.run_dir / "forecast.json"
    require_owner(path)
    try:
        times = config.train.model_dump(include={"validate_every", "num_probes", "save_every"})  # hours count them, too
        key = digest_json([made_for(config), config.machine.model_dump(), times])
        if step and (kept := read_json_or_none(path)) is not None:
            if kept.get("key") == key:
                return kept
            say("the forecast was made for other settings or text than the run resumes with, and is removed")
        remove_file(path)  # also of an attempt that died before its first save
        if step:
            return None
        plan = plan_run(config, layout=layout, dtype=dtype)
        found = {
            "format": FORECAST_FORMAT,
            "format_version": FORECAST_VERSION,
            "key": key,
            "made_at": datetime.fromtimestamp(clock(), UTC).isoformat(timespec="seconds"),
            **plan,
        }
        write_json(path, found)
    except LockedError:
        raise
    except Exception as error:  # of whatever kind: planning must not stop the training that it is about
        say(f"no forecast: {error}")
        return None
    for note in plan["notes"]:
        say(note)
    return found
