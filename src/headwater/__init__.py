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
    from headwater.library.corpus import Corpus
    from headwater.library.model import Model
    from headwater.library.records import Records
    from headwater.library.run import run
    from headwater.scaling.estimator import ScalingLaw

    __version__: str

__all__ = ["Corpus", "Model", "Records", "ScalingLaw", "run"]

_MODULES = {
    "Corpus": "headwater.library.corpus",
    "Model": "headwater.library.model",
    "Records": "headwater.library.records",
    "ScalingLaw": "headwater.scaling.estimator",
    "run": "headwater.library.run",
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
