"""Arguments of what people call, checked against their types: a wrong one is named in words."""

from __future__ import annotations

import inspect
import numbers
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, wraps
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar, get_type_hints

from pydantic import BeforeValidator, ConfigDict, Field, InstanceOf, TypeAdapter, ValidationError

from headwater.core.errors import ConfigError
from headwater.core.validation import wanted
from headwater.runfile.given import Override
from headwater.runfile.paths import Say
from headwater.runfile.run_config import NAME_RULE, is_run_name, run_folder
from headwater.runs.result import RunResult

P = ParamSpec("P")
T = TypeVar("T")


def _as_int(value: Any) -> Any:
    """Return a whole number of another library as one of Python's."""
    try:
        return value if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return value


def _as_float(value: Any) -> Any:
    try:
        return float(value) if isinstance(value, numbers.Real) and not isinstance(value, bool) else value
    except OverflowError:
        return value


_Int, _Float = BeforeValidator(_as_int), BeforeValidator(_as_float)
AnyRun = Annotated[
    str | InstanceOf[Path] | InstanceOf[RunResult], wanted("give the name of a run, a path, or what `run` returned")
]
"A recipe, a run file or a run folder by its name; or what `run` returned."
Text = Annotated[str, wanted("give a text")]
AnyPath = Annotated[str | InstanceOf[Path], wanted("give a path")]
Paths = Annotated[str | InstanceOf[Path] | Sequence[str | InstanceOf[Path]], wanted("give a path, or a list of paths")]
Overrides = Annotated[Sequence[str | Override], wanted("give a list of settings as they are typed: section.name=value")]
Progress = Annotated[Say, wanted("give a function of a line of text; settings are named, as train={'num_steps': 200}")]
Switch = Annotated[bool, wanted("give True or False")]
Number = Annotated[float, _Float, wanted("give a number")]
Seed = Annotated[int, _Int, wanted("give a whole number")]
Step = Annotated[int, Field(ge=0), _Int, wanted("give a whole number of 0 or more")]
Count = Annotated[int, Field(ge=1), _Int, wanted("give a whole number of 1 or more")]


def one_of(*words: str) -> Any:
    return wanted(f"give {' or '.join(map(repr, words))}")


def checked(function: Callable[P, T]) -> Callable[P, T]:
    """Return the function, with a ConfigError for arguments that it doesn't have or that aren't of their types."""
    signature = inspect.signature(function)

    @cache  # not at import: that takes time
    def adapters() -> dict[str, TypeAdapter[Any]]:
        strict = ConfigDict(strict=True, arbitrary_types_allowed=True)
        hints = get_type_hints(function, include_extras=True)
        return {name: TypeAdapter(hints[name], config=strict) for name in signature.parameters if name in hints}

    @wraps(function)
    def call(*given: P.args, **named: P.kwargs) -> T:
        try:
            arguments = signature.bind(*given, **named).arguments
        except TypeError as error:
            raise ConfigError(f"{function.__qualname__}: {error}") from None
        for name, adapter in adapters().items():
            if name in arguments and signature.parameters[name].kind is not inspect.Parameter.VAR_KEYWORD:
                try:
                    adapter.validate_python(arguments[name])
                except ValidationError as error:
                    why = error.errors()[0]["msg"].removeprefix("Value error, ")
                    found = f"{arguments[name]!r:.100}"
                    raise ConfigError(f"{function.__qualname__}: {name}={found}: {why}") from None
        return function(*given, **named)

    return call


def folder_of(run: AnyRun) -> Path:
    """Return the folder of a run; raise ConfigError where there is none yet."""
    return run.folder if isinstance(run, RunResult) else run_folder(str(run))


def folder_beside(base: Path, name: str | None, stage: str) -> Path:
    """Return the folder, beside the run `base`, of what is made of it."""
    base = base.resolve() if base.name in ("", "..") else base
    name = name or f"{base.resolve().name}-{stage}"
    if not is_run_name(name):
        raise ConfigError(f"--name {name!a} can't name a run: {NAME_RULE}")
    return base.with_name(name)


def name_of(run: AnyRun) -> str:
    """Return how the command line would name a run."""
    return str(run.folder if isinstance(run, RunResult) else run)


def require_none(why: str, **options: Any) -> None:
    """Raise ConfigError for an option that another question has."""
    for name, value in options.items():
        if value is not None and value != "":
            raise ConfigError(f"--{name.replace('_', '-')} {why}")


def paths_of(paths: Paths) -> list[str]:
    return [str(paths)] if isinstance(paths, str | Path) else list(map(str, paths))


def overrides_of(settings: Mapping[str, Any]) -> list[Override]:
    """Return settings in tables, or by names with dots, one by one; a name within a table may have a dot itself."""
    return [each for name, value in settings.items() for each in _leaves(value, tuple(name.split(".")))]


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[Override]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves(inner, (*path, str(name)))
    else:
        yield Override(path, "off" if value is None else _plain(value))


def _plain(value: Any) -> Any:
    """Return a value as a file of TOML would give it."""
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value if isinstance(value, str | bool | int | float) else str(value)
