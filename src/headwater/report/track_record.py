"""Forecasts against actual values over all runs of a folder: how often bands held, how far medians were off."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headwater.errors import DataError
from headwater.files import read_json
from headwater.forecast.result import FORECAST_FORMAT
from headwater.intervals import LEVEL
from headwater.records import Object
from headwater.report.outcome import Outcome, forecast_error, outcomes_of
from headwater.report.run_data import read_run

_MARKS = ("config.json", "records.jsonl", "forecast.json")


@dataclass
class TrackRecord:
    """Every run of a folder is in exactly one of the four: judged, unfinished, without a forecast, or damaged."""

    folder: Path
    judged: dict[str, list[Outcome]] = field(default_factory=dict)
    unfinished: list[str] = field(default_factory=list)
    without_forecast: list[str] = field(default_factory=list)
    damaged: dict[str, str] = field(default_factory=dict)

    @property
    def counted(self) -> list[Outcome]:
        """Every value that was measured, of all runs."""
        return [outcome for found in self.judged.values() for outcome in found if outcome.score is not None]


def read_track_record(folder: Path) -> TrackRecord:
    """Judge the runs that lie in `folder`, or the one that it is; raise DataError when there is no such folder."""
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; name the folder that runs lie in, such as runs/")
    record = TrackRecord(folder)
    for run_dir in [folder] if _is_run(folder) else sorted(path for path in folder.iterdir() if _is_run(path)):
        _judge_(record, run_dir)
    return record


def _is_run(path: Path) -> bool:
    return path.is_dir() and any((path / name).is_file() for name in _MARKS)


def _judge_(record: TrackRecord, run_dir: Path) -> None:
    name = run_dir.resolve().name
    why = _damage(run_dir)
    if why is not None:
        record.damaged[name] = why
        return
    run = read_run(run_dir)
    found = outcomes_of(run)
    if not run.forecast:
        record.without_forecast.append(name)
    elif not run.is_finished:
        record.unfinished.append(name)
    elif not found:
        record.damaged[name] = "forecast.json holds no forecast of a quantity that is measured"
    else:
        record.judged[name] = found


def _damage(run_dir: Path) -> str | None:
    """Return what is wrong with a forecast."""
    try:
        if (run_dir / "forecast.json").exists():
            kept = read_json(run_dir / "forecast.json")
            if not isinstance(kept, dict) or kept.get("format") != FORECAST_FORMAT:
                return "forecast.json is no forecast of a run"
    except OSError as error:
        return f"{Path(error.filename or run_dir).name} can't be read: {error.strerror or error}"
    except (ValueError, RecursionError):
        return "forecast.json is not JSON"
    return None


def track_fields(record: TrackRecord) -> Object:
    """Return what `headwater plan --track-record --json` prints."""
    return {
        "folder": str(record.folder),
        "runs": [
            {"run": name, "score": forecast_error(found), "outcomes": [outcome_fields(outcome) for outcome in found]}
            for name, found in record.judged.items()
        ],
        "inside": share_inside(record.counted),
        "score": forecast_error(record.counted),
        "quantities": by_quantity(record.counted),
        "unfinished": record.unfinished,
        "without_forecast": record.without_forecast,
        "damaged": [{"run": name, "why": why} for name, why in record.damaged.items()],
    }


def outcome_fields(outcome: Outcome) -> Object:
    names = ["quantity", "unit", "p10", "p50", "p90", "fact", "error", "is_inside", "score"]
    names += ["is_counted", "is_disturbed", "how"]
    return {name.removeprefix("is_"): getattr(outcome, name) for name in names}


def share_inside(counted: list[Outcome]) -> dict[str, Any]:
    """Return how many values were inside their bands, with the exact 95 % interval of the share.

    The interval takes the values as independent; those of one run, or of one machine, aren't quite.
    """
    num_inside = sum(bool(outcome.is_inside) for outcome in counted)
    low, high, share = 0.0, 1.0, None
    if counted:
        from scipy.stats import binomtest

        low, high = map(float, binomtest(num_inside, len(counted)).proportion_ci(0.95))
        share = num_inside / len(counted)
    return {
        "num_facts": len(counted),
        "num_inside": num_inside,
        "share": share,
        "p2_5": low,
        "p97_5": high,
        "nominal": LEVEL,
    }


def by_quantity(counted: list[Outcome]) -> dict[str, Object]:
    """Return, for each quantity, how many values there are, how many were inside, and the median absolute error."""
    groups: dict[str, list[Outcome]] = {}
    for outcome in counted:
        groups.setdefault(outcome.quantity, []).append(outcome)
    return {
        name: {
            "num_facts": len(found),
            "num_inside": sum(bool(outcome.is_inside) for outcome in found),
            "median_absolute_error": statistics.median(abs(outcome.error or 0.0) for outcome in found),
        }
        for name, found in groups.items()
    }
