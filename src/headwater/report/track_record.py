"""Forecasts against actual values over all runs of a folder: how often bands held, how far medians were off."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path

from headwater.errors import DataError
from headwater.files import read_json
from headwater.forecast.result import FORECAST_FORMAT
from headwater.intervals import LEVEL, share
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
        name, run, why = run_dir.resolve().name, read_run(run_dir), _damage(run_dir / "forecast.json")
        if why is not None:
            record.damaged[name] = why
        elif not run.forecast:
            record.without_forecast.append(name)
        elif not run.is_finished:
            record.unfinished.append(name)
        elif not (found := outcomes_of(run)):
            record.damaged[name] = "forecast.json holds no forecast of a quantity that is measured"
        else:
            record.judged[name] = found
    return record


def _is_run(path: Path) -> bool:
    return path.is_dir() and any((path / name).is_file() for name in _MARKS)


def _damage(forecast: Path) -> str | None:
    """Return what is wrong with a forecast."""
    try:
        kept = read_json(forecast)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"{forecast.name} can't be read: {error.strerror or error}"
    except (ValueError, RecursionError):
        return f"{forecast.name} is not JSON"
    is_one = isinstance(kept, dict) and kept.get("format") == FORECAST_FORMAT
    return None if is_one else f"{forecast.name} is no forecast of a run"


def track_fields(record: TrackRecord) -> Object:
    """Return what `headwater plan track-record --json` prints.

    The interval of 95 % takes the values as independent; those of one run, or of one machine, aren't quite.
    """
    counted, inside = record.counted, _counts(record.counted)
    if counted:
        found = share(inside["num_inside"], len(counted))
        inside |= {"share": found.value, "p2_5": found.low, "p97_5": found.high, "nominal": LEVEL}
    quantities = dict.fromkeys(outcome.quantity for outcome in counted)
    return {
        "folder": str(record.folder),
        "runs": [
            {"run": name, "score": forecast_error(found), "outcomes": list(map(_outcome_fields, found))}
            for name, found in record.judged.items()
        ],
        "inside": inside,
        "score": forecast_error(counted),
        "quantities": {name: _of_quantity(name, counted) for name in quantities},
        "unfinished": record.unfinished,
        "without_forecast": record.without_forecast,
        "damaged": [{"run": name, "why": why} for name, why in record.damaged.items()],
    }


def _outcome_fields(outcome: Outcome) -> Object:
    more = ("error", "is_inside", "score")
    fields = asdict(outcome) | {name: getattr(outcome, name) for name in more}
    return {name.removeprefix("is_"): value for name, value in fields.items()}


def _counts(counted: list[Outcome]) -> Object:
    return {"num_facts": len(counted), "num_inside": sum(bool(outcome.is_inside) for outcome in counted)}


def _of_quantity(name: str, counted: list[Outcome]) -> Object:
    found = [outcome for outcome in counted if outcome.quantity == name]
    return _counts(found) | {"median_absolute_error": statistics.median(abs(each.error or 0.0) for each in found)}
