"""report.html as a stage of a run."""

from __future__ import annotations

from pathlib import Path

from headwater.core.files import stage_key
from headwater.runfile.paths import RunFolder, Say, ignore
from headwater.runfile.run_config import RunConfig
from headwater.runs.run_data import read_run
from headwater.runs.stages import is_made, making

REPORT_VERSION = 7


def report_stage(config: RunConfig, say: Say, here: RunFolder | None = None) -> Path:
    """Write report.html, unless it already shows all that the run's folder holds; return its path."""
    report, here = config.run_dir / "report.html", here or RunFolder(config.run_dir)
    if not is_shown(here):
        from headwater.page.report.page import render_report  # loads the charts

        with making("report", config.run_dir, _key(here)):
            render_report(config.run_dir)
        say(f"wrote {report}")
    return report


def is_shown(here: RunFolder) -> bool:
    """Return whether report.html shows all that a run's folder holds."""
    return (here.run / "report.html").exists() and is_made("report", here, _key(here))


def _key(here: RunFolder) -> str:
    return stage_key("report", REPORT_VERSION, {}, {"shown": read_run(here.run, here).digest})


def refresh_report(config: RunConfig) -> None:
    """Write the report of a run that has one again, if the run's folder holds something new."""
    if (config.run_dir / "report.html").exists():
        report_stage(config, ignore)
