"""A run that TRL makes of another: what it starts from, and the folder that holds what it came to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from headwater.checkpoint.lock import owned
from headwater.downstream.derived import make_derived_run, save_model
from headwater.model.transformer import Transformer
from headwater.runs.finish import export_stage
from headwater.runs.paths import write_kept
from headwater.runs.run_config import config_of_run


@contextmanager
def trl_folders(base: Path, folder: Path, say: Callable[[str], None]) -> Iterator[tuple[Path, Path]]:
    """Yield the export of a run and a folder in which TRL may write, holding the lock of the new run's folder."""
    with owned(folder), TemporaryDirectory() as work:
        yield export_stage(config_of_run(base), say), Path(work)


def keep_derived(base: Path, path: Path, result: Any, model: Transformer, steps: int, identity: dict[str, Any]) -> None:
    """Make the folder of `path` a run: what was found is written there, then the model."""
    make_derived_run(base, path.parent, steps)
    write_kept(path, result)  # first: a folder that has its model is done
    save_model(path.parent, model, steps, identity)
