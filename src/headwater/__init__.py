"""Headwater: from raw text to a foundation model.

What a notebook imports is here, and is loaded when it is first used:

    import headwater
    result = headwater.run(headwater.new("mine", "texts"))
    headwater.Model.load(result).next("The capital of France is")

`new`, `plan`, `ladder`, `run`, `evaluate`, `export`, `tune` (`downstream sft`) and `serve` do what these verbs of the
command line do, and return what they print with --json. `plan`, `evaluate` and `export` are rooms of the package, too.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headwater.page.run import dry_run, evaluate, run, tune
    from headwater.page.serve.serving import serve
    from headwater.plan.scaling.estimator import ScalingLaw
    from headwater.runs.library.corpus import Corpus
    from headwater.runs.library.ladder import ladder
    from headwater.runs.library.model import Model, export
    from headwater.runs.library.new import new
    from headwater.runs.library.planning import plan
    from headwater.runs.library.records import Records

    __version__: str

_MODULES = {
    "Corpus": "runs.library.corpus",
    "Model": "runs.library.model",
    "Records": "runs.library.records",
    "ScalingLaw": "plan.scaling.estimator",
    "dry_run": "page.run",
    "evaluate": "page.run",
    "export": "runs.library.model",
    "ladder": "runs.library.ladder",
    "new": "runs.library.new",
    "plan": "runs.library.planning",
    "run": "page.run",
    "serve": "page.serve.serving",
    "tune": "page.run",
}
__all__ = [
    "Corpus",
    "Model",
    "Records",
    "ScalingLaw",
    "dry_run",
    "evaluate",
    "export",
    "ladder",
    "new",
    "plan",
    "run",
    "serve",
    "tune",
]


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


def _find(name: str) -> Any:
    return getattr(import_module(f"headwater.{_MODULES[name]}"), name)


if not TYPE_CHECKING:  # a checker of types knows the names above, and no others

    class _CalledRoom(ModuleType):
        """A room that has the name of a verb: `headwater.plan` holds modules, and is called as the verb is."""

        def __call__(self, *given: Any, **named: Any) -> Any:
            return self.__wrapped__(*given, **named)

        @property
        def __wrapped__(self) -> Any:
            return _find(self.__name__.rpartition(".")[2])

    for _name in ("evaluate", "export", "plan"):
        import_module(f"headwater.{_name}").__class__ = _CalledRoom

    def __getattr__(name: str) -> object:
        if name == "__version__":
            return import_module("importlib.metadata").version("headwater")
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return _find(name)
