"""headwater plan track-record: what was forecast of finished runs, and what became of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from headwater.cli.terminal import print_json, say, table
from headwater.records import Object
from headwater.report.outcome import Outcome, show_error
from headwater.report.track_record import TrackRecord, read_track_record, track_fields


def show(folder: Path, as_json: bool) -> None:
    """Print the forecasts of the finished runs in a folder beside what became of them."""
    record = read_track_record(folder)
    fields = track_fields(record)
    if as_json:
        return print_json(fields)
    if record.judged:
        rows = [_row(name, outcome) for name, found in record.judged.items() for outcome in found]
        table([("run", "quantity", "forecast (P10 to P90)", "actual", "error", ""), *rows], "<<<>><")
    else:
        say(f"no finished run with a forecast in {folder}")
    for line in [*_summary(fields), *_excluded(record)]:
        say(line)


def _row(name: str, outcome: Outcome) -> tuple[str, ...]:
    start = (name, outcome.quantity, outcome.show_forecast())
    if outcome.fact is None or outcome.error is None:
        return (*start, "–", "", outcome.how)
    verdict = outcome.verdict.replace("outside", "OUTSIDE") if outcome.is_counted else outcome.how
    return (*start, outcome.show(outcome.fact), show_error(outcome.error), verdict)


def _summary(fields: Object) -> Iterator[str]:
    inside, score = fields["inside"], fields["score"]
    if score is None:
        return
    yield (
        f"{inside['num_inside']} of {inside['num_facts']} actual values inside their {inside['nominal']:.0%} bands: "
        f"{inside['share']:.0%} (95 % interval {inside['p2_5']:.0%} to {inside['p97_5']:.0%}, taken as independent)"
    )
    for name, found in fields["quantities"].items():
        error = show_error(found["median_absolute_error"]).lstrip("+")
        yield f"{name}: median absolute error {error}, {found['num_inside']} of {found['num_facts']} inside"
    yield f"score: {score:.3f} (mean CRPS of the logarithm; 0 is perfect)"


def _excluded(record: TrackRecord) -> Iterator[str]:
    for what, names in (("not finished", record.unfinished), ("without a forecast", record.without_forecast)):
        if names:
            yield f"{len(names)} {what}: {', '.join(names)}"
    yield from (f"damaged: {name}: {why}" for name, why in record.damaged.items())
