"""headwater plan track-record: what was forecast of finished runs, and what became of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from headwater.cli.terminal import print_json
from headwater.printable import printable

if TYPE_CHECKING:
    from headwater.report.outcome import Outcome
    from headwater.report.track_record import TrackRecord


def show(folder: Path, as_json: bool) -> None:
    """Print the forecasts of the finished runs in a folder beside what became of them."""
    from headwater.report.track_record import read_track_record, track_fields

    record = read_track_record(folder)
    print_json(track_fields(record)) if as_json else _print(record)


def _print(record: TrackRecord) -> None:
    lines = [*_table(record), *_summary(record), *_left_out(record)]
    print("\n".join(printable(line) for line in lines))


def _table(record: TrackRecord) -> list[str]:
    if not record.judged:
        return [f"no finished run with a forecast in {record.folder}"]
    width = max(16, *(len(name) for name in record.judged))
    heads = f"{'run':<{width}} {'quantity':<9} {'forecast (P10 to P90)':<36} {'actual':>22} {'error':>8}"
    return [heads, *(_row(name, outcome, width) for name, found in record.judged.items() for outcome in found)]


def _row(name: str, outcome: Outcome, width: int) -> str:
    from headwater.report.outcome import show_error

    start = f"{name:<{width}} {outcome.quantity:<9} {outcome.show_forecast():<36}"
    if outcome.fact is None or outcome.error is None:
        return f"{start} {'–':>22} {'':>8}  {outcome.how}"
    verdict = outcome.verdict.replace("outside", "OUTSIDE") if outcome.is_counted else outcome.how
    return f"{start} {outcome.show(outcome.fact):>22} {show_error(outcome.error):>8}  {verdict}"


def _summary(record: TrackRecord) -> list[str]:
    from headwater.report.outcome import forecast_error, show_error
    from headwater.report.track_record import by_quantity, share_inside

    inside, score = share_inside(record.counted), forecast_error(record.counted)
    if score is None:
        return []
    lines = [
        "",
        f"{inside['num_inside']} of {inside['num_facts']} actual values inside their {inside['nominal']:.0%} bands: "
        f"{inside['share']:.0%} (95 % interval {inside['p2_5']:.0%} to {inside['p97_5']:.0%}, taken as independent)",
    ]
    for name, found in by_quantity(record.counted).items():
        lines.append(
            f"{name:<9} median absolute error {show_error(found['median_absolute_error']).lstrip('+')}, "
            f"{found['num_inside']} of {found['num_facts']} inside"
        )
    return [*lines, f"score     {score:.3f} (mean CRPS of the logarithm; 0 is perfect)"]


def _left_out(record: TrackRecord) -> list[str]:
    groups = [("not finished", record.unfinished), ("without a forecast", record.without_forecast)]
    lines = [f"{len(names)} {what}: {', '.join(names)}" for what, names in groups if names]
    lines += [f"damaged: {name}: {why}" for name, why in record.damaged.items()]
    return ["", *lines] if lines else []
