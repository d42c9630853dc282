"""headwater explain: what is set, under who set it, with the reason of every rule."""

from __future__ import annotations

import difflib
import json
import textwrap
from typing import TYPE_CHECKING, Any

from pydantic.json_schema import GenerateJsonSchema

from headwater.cli.terminal import safe, width
from headwater.core.errors import ConfigError
from headwater.core.numbers import count, plural, setting
from headwater.core.records import table
from headwater.runfile.run_config import RunConfig

if TYPE_CHECKING:
    from headwater.runfile.checking import Reason

MAX_VALUE = 44
"Characters of a value that are shown: lists of paths may be long."
HEADINGS = {"user": "set in {}", "recipe": "set in the recipe {}", "rule": "set by rules", "default": "defaults"}


def reasons_of(names: list[str], reasons: list[Reason]) -> list[Reason]:
    """Return the reasons of some settings and tables of settings; raise ConfigError for one that isn't there."""
    found = []
    for name in names:
        here = [each for each in reasons if f"{each.setting}.".startswith(f"{name}.")]
        if not here:
            near = difflib.get_close_matches(name, [each.setting for each in reasons], n=1)
            hint = f"did you mean {near[0]}?" if near else "`headwater explain RUN --all` lists them"
            raise ConfigError(f"{name} is no setting of a run; {hint}")
        found += here
    return found


def print_reasons(config: RunConfig, reasons: list[Reason], run: str, show_all: bool) -> None:
    """Print the settings of a run by origin; defaults, and what is off, only where all are wanted."""
    shown = [each for each in reasons if show_all or (each.origin != "default" and each.value is not None)]
    print(safe(f"{config.name}: {_size(config)}"))
    for origin, heading in HEADINGS.items():
        for where in dict.fromkeys(each.where for each in shown if each.origin == origin):
            print(safe(f"\n{heading.format(where)}"))
            for each in shown:
                if (each.origin, each.where) == (origin, where):
                    _print_reason(each)
    if decided := _decided(config):
        print(safe("\ndecided as the run began"))
        print(safe("\n".join(f"  {line}" for line in decided)))
    if hidden := len(reasons) - len(shown):
        print(safe(f"\n{hidden} more have their defaults or are off: headwater explain {run} --all"))


def _decided(config: RunConfig) -> list[str]:
    """Return what a run that has begun computes in, and what made it so, by the record it begins with."""
    try:
        with open(config.run_dir / "records.jsonl", "rb") as records:
            found = table(json.loads(records.readline()), "device")
    except (OSError, ValueError):  # none yet, or torn
        return []
    return [f"number format: {found['dtype']}, {found['dtype_why']}"] if "dtype_why" in found else []


def _size(config: RunConfig) -> str:
    from headwater.model.count import count_parameters

    model, train = config.model, config.train
    shape = f"{model.num_layers} layers × {model.d_model}, {heads(model)}"
    steps = f"{train.num_steps} steps × {count(train.batch_tokens)} tokens"
    return f"{count(count_parameters(model).total)} parameters ({shape}), {steps}"


def heads(model: Any) -> str:
    """Return how many heads of which width: 3 heads of 64."""
    return f"{plural(model.num_heads, 'head')} of {model.head_dim}"


def _print_reason(reason: Reason) -> None:
    value = setting(reason.value)
    value = value if len(value) <= MAX_VALUE else value[: MAX_VALUE - 1] + "…"
    print(safe(f"  {reason.setting:<36} {value}"))
    why = reason.why if reason.origin in ("rule", "default") else ""
    measured = f"measured {reason.measured}" if reason.measured else ""
    for text in filter(None, (why, measured)):
        for line in textwrap.wrap(" ".join(text.split()), width() - 8):  # a description may be of two lines
            print(safe(f"      {line}"))


class _AllOptional(GenerateJsonSchema):
    def field_is_required(self, *_: Any, **__: Any) -> bool:
        return False


def file_schema() -> dict[str, Any]:
    """Return the JSON schema of a run file: nothing is required, since a rule or the file it extends may set it."""
    schema = RunConfig.model_json_schema(schema_generator=_AllOptional)
    extends = {"type": "string", "description": "A recipe, or a run file beside this one, whose settings come first."}
    return schema | {"properties": {"extends": extends, **schema["properties"]}}
