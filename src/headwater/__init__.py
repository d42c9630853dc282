"""Headwater: from raw text to a foundation model.

What a notebook imports is here, and is loaded when it is first used:

    import headwater
    result = headwater.run("mine.toml")
    headwater.Model.load("runs/mine").next("The capital of France is")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headwater.page.run import dry_run, run
    from headwater.plan.scaling.estimator import ScalingLaw
    from headwater.runs.library.corpus import Corpus
    from headwater.runs.library.model import Model
    from headwater.runs.library.records import Records

    __version__: str

__all__ = ["Corpus", "Model", "Records", "ScalingLaw", "dry_run", "run"]

_MODULES = {
    "Corpus": "headwater.runs.library.corpus",
    "Model": "headwater.runs.library.model",
    "Records": "headwater.runs.library.records",
    "ScalingLaw": "headwater.plan.scaling.estimator",
    "dry_run": "headwater.page.run",
    "run": "headwater.page.run",
}


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


if not TYPE_CHECKING:  # a checker of types knows the names above, and no others

    def __getattr__(name: str) -> object:
        if name == "__version__":
            return import_module("importlib.metadata").version("headwater")
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_MODULES[name]), name)
