"""Rows as a table of pandas or polars, whichever is installed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Annotated, Any, Literal

from headwater.core.errors import ConfigError
from headwater.runs.library.checked import one_of

Frames = Annotated[Literal["pandas", "polars"], one_of("pandas", "polars")]


def to_frame(rows: Sequence[Mapping[str, Any]], library: Frames | None = None) -> Any:
    """Return a DataFrame with a line a row; what a row has inside, such as {"loss": {"all": 3}}, is under loss.all.

    None takes pandas, or polars where that alone is installed. Raises ConfigError where the library isn't.
    """
    known = ("pandas", "polars") if library is None else (library,)
    name = next((name for name in known if find_spec(name) is not None), None)
    if name is None:
        raise ConfigError(f"a frame needs {' or '.join(known)}, not installed here; `pip install {known[0]}`")
    flat = [_flat(row) for row in rows]
    if name == "pandas":
        return import_module("pandas").DataFrame(flat)
    return import_module("polars").from_dicts(flat, infer_schema_length=None)


def _flat(row: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in row.items():
        found |= _flat(value, f"{path}{name}.") if isinstance(value, Mapping) else {path + name: value}
    return found
