"""What a run will cost and how good it will be, or which run a budget buys: what `headwater plan --json` prints."""

from __future__ import annotations

import json
import math
import shlex
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from headwater.core.config import Settings
from headwater.core.errors import CheckpointError, ConfigError
from headwater.machine.parallel.settings import fewest_ranks
from headwater.model.count import count_fields, count_model
from headwater.model.settings import Family, ModelSettings
from headwater.plan.forecast.result import RunLimits
from headwater.plan.hardware import Costs, read_costs
from headwater.plan.run_plan import plan_run
from headwater.runfile.checking import missing_settings, resolve
from headwater.runfile.given import Decided, Given, Override
from headwater.runfile.kept_settings import load_with_kept
from headwater.runfile.rules import RULES, by_rules
from headwater.runfile.run_config import RunConfig, train_plan
from headwater.runs.library import arguments as arg
from headwater.runs.library.arguments import checked, name_of, one_of, overrides_of, require_none
from headwater.train.checkpoint.layout import list_checkpoints, require_from_training

if TYPE_CHECKING:  # the plan of a run loads no search
    from headwater.plan.budget import SearchOptions

LossUnit = Literal["bits_per_byte", "nats_per_token"]


@checked
def plan(
    run: arg.AnyRun | None = None,
    /,
    *,
    budget: arg.Text = "",
    hardware: arg.Text = "",
    ranks: arg.Text | arg.Count = "",
    text_bytes: arg.Text = "",
    costs: arg.AnyPath | None = None,
    runs: arg.AnyPath | None = None,
    loss_unit: Annotated[LossUnit, one_of(*get_args(LossUnit))] | None = None,
    max_hours: arg.Number | None = None,
    max_money: arg.Number | None = None,
    target_loss: arg.Number | None = None,
    overrides: arg.Overrides = (),
    **settings: Any,
) -> dict[str, Any]:
    """Return what a run will cost and how good it will be, before its first step; with `budget` the run that it buys.

    The options are those of `headwater plan`, and the result is what it prints with `--json`: of a run `hours`, `money`
    (US dollars), `energy_kwh`, `kg_co2`, `memory_gb` (of a rank) and `loss` (in `loss_unit`), each {"p10", "p50",
    "p90"} or None where it isn't known; `counts`, `probabilities` of breaking a limit, and in `how` where each comes
    from. Of a budget ("$10k", "2h") `choice` has them with `shape` and `settings`, and `next` the commands to go on
    with. `settings` are for this call, in the tables of a run file; `overrides` the same as they are typed. Nothing is
    written. Raises ConfigError and DataError for what can't be answered.

        headwater.plan("mine.toml", train={"num_steps": 2000})["hours"]["p50"]
        headwater.plan(budget="$10k", hardware="8xH100", text_bytes="40G")["choice"]["params"]
    """
    costs_file, runs_file = (None if each is None else Path(each) for each in (costs, runs))
    if runs_file is not None:
        _require_unit(runs_file, loss_unit)
    given, unit, changes = read_costs(costs_file), loss_unit or "bits_per_byte", [*overrides, *overrides_of(settings)]
    if given.hardware and not hardware:
        raise ConfigError("--costs: hardware counts with --hardware alone; name a device of it, or remove it")
    name, ranks, words = None if run is None else name_of(run), str(ranks), list(map(_word, changes))
    limits = {"max_hours": max_hours, "max_money": max_money, "target_loss": target_loss}
    if budget:
        require_none("is for the plan of one run, without --budget", **limits)
        options = search_options(budget, name, changes, hardware, ranks, text_bytes, runs_file, unit, given)
        named = {"--budget": budget, "--hardware": hardware, "--ranks": ranks, "--costs": costs, "--runs": runs}
        named["--loss-unit"] = loss_unit
        more = [word for option, value in named.items() if value for word in (option, str(value))]
        of_own_text = shlex.join(["headwater", "plan", "mine.toml", *words, *more])
        return _of_budget(options, ["headwater new mine --text FOLDER", of_own_text])
    typed = [*map(shlex.quote, [*([name] if name else []), *words]), f"--text-bytes {shlex.quote(text_bytes)}"]
    call = " ".join(["headwater plan --budget 2h", *typed])
    require_none(f"needs --budget AMOUNT, money or time, such as: {call}", text_bytes=text_bytes)
    if name is None:
        raise ConfigError("name a run, such as `headwater plan first-light`, or a budget: `headwater plan --budget 2h`")
    for limit, value in limits.items():
        if value is not None and not 0 < value < math.inf:
            raise ConfigError(f"--{limit.replace('_', '-')} {value:g}: give a number above zero")
    return _of_run(name, changes, given, ranks, hardware, runs_file, unit, RunLimits(max_hours, max_money, target_loss))


def _require_unit(runs: Path, loss_unit: str | None) -> None:
    if runs.suffix == ".toml":  # of a ladder
        if loss_unit == "nats_per_token":
            raise ConfigError(f"--runs {runs}: losses of a ladder are bits per byte; remove --loss-unit")
    elif loss_unit is None:
        if not runs.is_file():
            raise ConfigError(f"--runs: no such file: {runs}")
        raise ConfigError(f"--runs {runs}: say what its losses are: --loss-unit bits_per_byte or nats_per_token")


def _word(override: str | Override) -> str:
    """Return an override as it is typed."""
    if isinstance(override, str):
        return override
    return f"{'.'.join(override.path)}={json.dumps(override.value, ensure_ascii=False)}"


# ---- of a run


def _of_run(
    run: str,
    overrides: arg.Overrides,
    costs: Costs,
    ranks: str,
    hardware: str,
    runs: Path | None,
    loss_unit: str,
    limits: RunLimits,
) -> dict[str, Any]:
    config, _ = load_with_kept(run, overrides)
    require_from_training(config.run_dir)
    layout = device = None
    if ranks or hardware or fewest_ranks(config.parallel) > 1:
        from headwater.plan.amounts import parse_devices  # the plan of one rank loads no layouts
        from headwater.plan.forecast.device import read_devices
        from headwater.plan.layout import layout_here

        table = read_devices(costs.hardware) if hardware else {}
        device, place = parse_devices(hardware, ranks, fewest_ranks(config.parallel), table)
        layout = layout_here(config, place, device)
    found = plan_run(config, runs, loss_unit, limits, costs, layout, device)
    return found | _resume(config, found["step_seconds"])


def _resume(config: RunConfig, step_seconds: float) -> dict[str, Any]:
    """Return from which step a run that was begun resumes and what is left, or why it can't; {} of any other."""
    if not list_checkpoints(config.run_dir):
        return {}
    from headwater.train.resume import require_settings

    try:
        step = require_settings(config.run_dir, train_plan(config))
    except CheckpointError as error:
        return {"resume": {"refused": str(error)}}
    num_left, newest = config.train.num_steps - step, list_checkpoints(config.run_dir)[0][0]
    left = {"steps_left": num_left, "seconds_left": num_left * step_seconds}
    return {"resume": {"step": step, **left, "steps_again": newest - step}}


# ---- of a budget


def search_options(
    budget: str,
    run: str | None = None,
    overrides: arg.Overrides = (),
    hardware: str = "",
    ranks: str = "",
    text_bytes: str = "",
    runs: Path | None = None,
    loss_unit: str = "bits_per_byte",
    costs: Costs | None = None,
) -> SearchOptions:
    """Return what is searched for, of what was typed; raise ConfigError for what is no amount."""
    from headwater.plan.amounts import parse_amount, parse_budget, parse_devices
    from headwater.plan.budget import SearchOptions, searched_config
    from headwater.plan.forecast.device import read_devices

    words, costs = tuple(map(_word, overrides)), costs or Costs()
    config = searched_config(run, words, is_on_devices=bool(hardware))
    table = read_devices(costs.hardware) if hardware else {}
    device, place = parse_devices(hardware, ranks, fewest_ranks(config.parallel), table)
    size = parse_amount("--text-bytes", text_bytes, "bytes") if text_bytes else None
    return SearchOptions(parse_budget(budget), config, place, run, words, device, size, runs, loss_unit, costs)


def _of_budget(options: SearchOptions, without_run: list[str]) -> dict[str, Any]:
    from headwater.plan.budget import search_budget

    started_at = time.perf_counter()
    found = search_budget(options)
    seconds = time.perf_counter() - started_at
    commands = _next_commands(options, found["choice"]["settings"]) if options.run else without_run
    return found | {"next": commands, "seconds": seconds}


def _next_commands(options: SearchOptions, chosen: dict[str, Any]) -> list[str]:
    """Return what to call for a run with what was found: its plan, where that is of this machine, and its training."""
    settings = " ".join(shlex.quote(f"{name}={value}") for name, value in chosen.items())
    given = [each for each in options.overrides if each.partition("=")[0].strip() not in chosen]
    if list_checkpoints(options.config.run_dir):  # a run that is begun keeps its settings
        given.append(f"name={options.config.name}-budget")
    words = " ".join([*map(shlex.quote, [options.run or "", *given]), settings])
    ranks, num_local = options.place.world_size, options.place.local_world_size
    num_machines = ranks // num_local
    nodes = f"--nnodes {num_machines} --rdzv-backend c10d --rdzv-endpoint HOST:PORT " if num_machines > 1 else ""
    torchrun = f"torchrun {nodes}--nproc-per-node {num_local} -m headwater train {words}"
    train = torchrun if ranks > 1 else f"headwater run {words}"
    of_ranks = f" --ranks {num_machines}x{num_local}" if num_machines > 1 else f" --ranks {ranks}" if ranks > 1 else ""
    return [*([] if options.device else [f"headwater plan {words}{of_ranks}"]), train]


# ---- counting


class _ModelAlone(Settings):
    """The table `model` of a run file, by itself."""

    model: ModelSettings


def counted(folder: Path | None, family: str, changes: Sequence[str], seq_len: int | None) -> dict[str, Any]:
    """Return the parameters and FLOPs per token of a folder with a config.json, or of a family and its settings."""
    if folder is None and family not in get_args(Family):
        raise ConfigError(f"no family is named {family!r}; take {', '.join(get_args(Family))}")
    from headwater.export.base.config import settings_of_config
    from headwater.export.base.facts import read_object

    of_folder = None if folder is None else settings_of_config(read_object(folder / "config.json"))
    model = count_model(of_folder or own_family(family, changes))
    return count_fields(model if seq_len is None else replace(model, seq_len=seq_len))


def own_family(family: str, overrides: Sequence[str]) -> ModelSettings:
    """Return the settings given, such as `num_layers=32`, heads that fill the width, and the rest by rules.

    Raises ConfigError for an unknown setting, a missing one that no rule makes, or a shape that can't be.
    """
    given = Given({"model": {"family": family, "seq_len": 1024}})
    for override in overrides:
        given = given.with_override(f"model.{override.removeprefix('model.')}")
    heads, d_model = given.get("model.num_heads"), given.get("model.d_model")
    if isinstance(heads, int) and isinstance(d_model, int) and heads > 0 and not given.has("model.head_dim"):
        given = given.with_value("model.head_dim", d_model // heads, "heads that fill the width")

    def of_model(given: Given) -> Decided:
        if missing := missing_settings(_ModelAlone, given, RULES):
            names = ", ".join(name.removeprefix("model.") for name in missing)
            raise ConfigError(f"family {family} needs {names}; give each with --set NAME=NUMBER")
        return {name: found for name, found in by_rules(given).items() if name.startswith("model.")}

    return resolve(_ModelAlone, given, [of_model], RULES)[0].model
