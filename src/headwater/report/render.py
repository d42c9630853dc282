"""From a run's folder to its report.html."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from headwater.errors import DataError
from headwater.files import no_check, write_text
from headwater.report.page import page
from headwater.report.run_data import read_run


def render_report(run_dir: Path, before_commit: Callable[[], None] = no_check) -> Path:
    """Write `run_dir`/report.html from whatever the run has left behind so far, and return its path.

    Raises DataError when `run_dir` is no folder. Parts that aren't there yet say so on the page.
    `before_commit` may still raise before the page takes the place of an earlier one.
    """
    if not run_dir.is_dir():
        raise DataError(f"there is no run folder {run_dir}; `headwater run RUN.toml` makes one")
    path = run_dir / "report.html"
    write_text(path, page(read_run(run_dir.resolve())), before_commit)
    return path
