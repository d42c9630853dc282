"""Arguments of what people call, checked against their types: a wrong one is named in words."""

from __future__ import annotations

import inspect
import numbers
import operator
from collections.abc import Callable
from functools import cache, wraps
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar, get_type_hints

from pydantic import BeforeValidator, ConfigDict, Field, InstanceOf, TypeAdapter, ValidationError

from headwater.core.errors import ConfigError
from headwater.core.validation import wanted
from headwater.runfile.run_config import run_folder
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
