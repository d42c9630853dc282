"""The few numbers that several parts of the page tell, each worked out in one place."""

from __future__ import annotations

import statistics

from headwater.report.curves import Points, points
from headwater.report.numbers import number
from headwater.report.run_data import ALMANAC, RunData, amount, table

REAL_TEXT = "held-out real text"
ALL_TEXT = "held-out text"
_YARDSTICK_NAMES = {"xz": "xz -9e", "ngram5": "5-gram"}


def final_bits_per_byte(run: RunData) -> tuple[float | None, str]:
    """Return the best account of the model's quality there is, and on which text it was measured."""
    real = amount(run.evaluation, "bits_per_byte_real_text")
    if real is not None:
        return real, REAL_TEXT
    measured = real_text_curve(run)
    if measured:
        return measured[-1][1], REAL_TEXT
    everything = amount(run.evaluation, "bits_per_byte", "all")
    if everything is None:
        everything = amount(run.last("validation"), "bits_per_byte", "all")
    return everything, ALL_TEXT


def yardsticks(run: RunData) -> list[tuple[str, float]]:
    """Return what simpler models need for the same bytes, by name."""
    found = table(run.evaluation, "yardsticks")
    named = [(_YARDSTICK_NAMES.get(name, name), number(value)) for name, value in found.items()]
    return [(name, value) for name, value in named if value is not None]


def real_text_curve(run: RunData) -> Points:
    """Return bits per byte over tokens with the almanac left out.

    A validation record gives bits per byte by source. Their mean weighted by the held-out bytes of each source is
    the bits per byte of all of them together, because bits and bytes both add up.
    """
    held_out = table(run.corpus, "splits", "validation")
    num_bytes = {name: amount(split, "bytes") or 0 for name, split in held_out.items() if name != ALMANAC}
    curve = []
    for record in run.events("validation"):
        tokens_seen = amount(record, "tokens_seen")
        scores = {name: number(score) for name, score in table(record, "bits_per_byte").items() if name in num_bytes}
        scored = {name: score for name, score in scores.items() if score is not None and num_bytes[name] > 0}
        total = sum(num_bytes[name] for name in scored)
        if tokens_seen is not None and total:
            curve.append((tokens_seen, sum(num_bytes[name] * score for name, score in scored.items()) / total))
    return curve


def bits_per_byte_curve(run: RunData, source: str) -> Points:
    rows = [
        {"x": record.get("tokens_seen"), "y": table(record, "bits_per_byte").get(source)}
        for record in run.events("validation")
    ]
    return points(rows, "x", "y")


def ability_curve(run: RunData, ability: str) -> Points:
    """Return the fraction right over tokens."""
    rows = [
        {"x": record.get("tokens_seen"), "y": table(record, "abilities", ability).get("right")}
        for record in run.events("abilities")
    ]
    return points(rows, "x", "y")


def median_of(run: RunData, field: str) -> float | None:
    values = [value for record in run.events("step") if (value := number(record.get(field))) is not None]
    return statistics.median(values) if values else None


def seconds_trained(run: RunData) -> float | None:
    """Return the run's time: the trainer's own figure at the end, or what its records add up to so far."""
    finished = amount(run.last("finish"), "seconds")
    return finished if finished is not None else sum(time_split(run).values()) or None


def time_split(run: RunData) -> dict[str, float]:
    """Return the seconds spent on each kind of work, as the records time it, and what is left of the whole."""
    kinds = {
        "training": seconds_of(run, "step", "seconds"),
        "validation": seconds_of(run, "validation", "evaluation_seconds"),
        "probes": seconds_of(run, "abilities", "evaluation_seconds"),
        "samples": seconds_of(run, "samples", "evaluation_seconds"),
        "checkpoints": seconds_of(run, "checkpoint", "seconds"),
    }
    finished = amount(run.last("finish"), "seconds")
    if finished is not None:
        kinds["everything else"] = max(0.0, finished - sum(kinds.values()))
    return {kind: seconds for kind, seconds in kinds.items() if seconds > 0}


def seconds_of(run: RunData, event: str, field: str) -> float:
    return sum(number(record.get(field)) or 0.0 for record in run.events(event))
