"""A run's forecast beside the actual values: which quantity, which band, the value, and how good that was.

Each value is compared with its own forecast: the run's clock counts training, so that training time and training
energy are without preparation and what comes after, which a plan's time and energy have. The loss is that of all
held-out text, which is what a ladder's table holds; of the sample in the last validation until the run is evaluated.
"""

from __future__ import annotations

from dataclasses import dataclass

from headwater.core.numbers import duration, significant
from headwater.core.records import Object, Record, amount, table
from headwater.machine.host.energy import MEASURED
from headwater.plan.forecast.result import mean_bits
from headwater.runs.run_data import RunData

ALL_TEXT, LAST_VALIDATION = "all held-out text", "a sample of the held-out text, the last validation"

UNITS = {"bits_per_byte": ("bits_per_byte", "bits per byte"), "nats_per_token": ("loss", "nats per token")}
"By the forecast's `loss_unit`: the field of a validation record, and the words."
Band = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One quantity: P10, P50, P90, the actual value where there is one, and `how` it is known or why it isn't.

    `is_counted` says that the fact was measured: an energy estimated from the time says nothing of its own.
    `is_disturbed` says that the machine was under load: the value counts, and is said to be of such a machine.
    """

    quantity: str
    unit: str
    p10: float
    p50: float
    p90: float
    fact: float | None
    how: str
    is_counted: bool = True
    is_disturbed: bool = False

    @property
    def error(self) -> float | None:
        """By how much the actual value is above the median, relative to it."""
        return None if self.fact is None else self.fact / self.p50 - 1

    @property
    def is_inside(self) -> bool | None:
        return None if self.fact is None else self.p10 <= self.fact <= self.p90

    @property
    def verdict(self) -> str:
        """Return "inside" or "outside" or, of a loaded machine, that it was one; "" where there is no actual value."""
        if self.is_inside is None:
            return ""
        found = (["inside"] if self.is_inside else []) + (["under load"] if self.is_disturbed else [])
        return ", ".join(found) or "outside"

    def show(self, value: float) -> str:
        return duration(value) if self.unit == "seconds" else f"{significant(value, 4)} {self.unit}"

    def show_band(self) -> str:
        """Return the band without its unit: 0.8297 to 1.018, and of time 5m47s to 6m37s."""
        low, high = (self.show(value).removesuffix(f" {self.unit}") for value in (self.p10, self.p90))
        return f"{low} to {high}"

    def show_forecast(self) -> str:
        """Return the median with its unit, and the band in it."""
        return f"{self.show(self.p50)} ({self.show_band()})"


def outcomes_of(run: RunData) -> list[Outcome]:
    """Return what was forecast of a run, in one order, with the actual values that are known by now."""
    return outcomes(run.forecast, run.last("finish"), run.last("validation"), run.evaluation)


def outcomes(forecast: Object, finish: Record, validation: Record, evaluation: Object) -> list[Outcome]:
    """Return what a forecast says, with the values of the last records and the evaluation; {} where there is none."""
    found = [
        _time(forecast, finish),
        _loss(forecast, validation, evaluation) if finish else _loss(forecast, {}, {}),
        *(_of_text(forecast, *((validation, evaluation) if finish else ({}, {})), name) for name in ("new", "old")),
        _memory(forecast, finish),
        _energy(forecast, finish),
    ]
    return [outcome for outcome in found if outcome is not None]


def show_error(error: float) -> str:
    """Return a relative error: +12.3%, and where the value is twice the forecast or more, their ratio: × 4.9."""
    return f"{error:+.1%}" if error < 1 else f"× {significant(1 + error, 2)}"


def _time(forecast: Object, finish: Record) -> Outcome | None:
    found = band(forecast, "training", "hours", scale=3600)
    beside = finish.get("beside")
    how = f"training, under load: {beside}" if isinstance(beside, str) else "training"
    return _outcome(
        "training time", "seconds", found, amount(finish, "seconds"), how, is_disturbed=isinstance(beside, str)
    )


def _loss(forecast: Object, validation: Record, evaluation: Object) -> Outcome | None:
    unit = forecast.get("loss_unit")
    if not isinstance(unit, str) or unit not in UNITS:
        return None
    field, words = UNITS[unit]
    whole = amount(evaluation, field, "all")
    fact, how = (whole, ALL_TEXT) if whole is not None else (amount(validation, field, "all"), _of(validation))
    return _outcome("held-out loss", words, band(forecast, "loss"), fact, how)


def _of(validation: Record) -> str:
    return ALL_TEXT if validation.get("is_of_all") else LAST_VALIDATION


def _of_text(forecast: Object, validation: Record, evaluation: Object, name: str) -> Outcome | None:
    """Return one of the two losses of a run from a base: of its new text, or of the base's old."""
    whole, last = (
        mean_bits({source: bits for source in by_source if (bits := amount(by_source, source))}, name == "old")
        for by_source in (table(evaluation, "bits_per_byte"), table(validation, "bits_per_byte"))
    )
    fact, how = (whole, ALL_TEXT) if whole is not None else (last, _of(validation))
    return _outcome(f"{name} text", "bits per byte", band(forecast, "from_base", name), fact, how)


def _memory(forecast: Object, finish: Record) -> Outcome | None:
    peak = amount(finish, "peak_memory_bytes")
    how = finish.get("peak_memory_how") or ("peak of the process" if peak else "not known")
    return _outcome("memory", "GB", band(forecast, "memory_gb"), None if peak is None else peak / 1e9, str(how))


def _energy(forecast: Object, finish: Record) -> Outcome | None:
    is_measured = str(finish.get("energy_how") or "").startswith(MEASURED)
    words = "measured" if is_measured else "estimated from the time, so not counted"
    found = band(forecast, "training", "energy_kwh", scale=1000)
    return _outcome("training energy", "Wh", found, amount(finish, "energy_wh"), words, is_counted=is_measured)


def _outcome(
    quantity: str, unit: str, forecast: Band | None, fact: float | None, how: str, **more: bool
) -> Outcome | None:
    if forecast is None:
        return None
    return Outcome(quantity, unit, *forecast, fact if fact is not None and fact > 0 else None, how, **more)


def band(forecast: Record, *path: str, scale: float = 1.0) -> Band | None:
    """Return P10, P50 and P90 of a quantity; None unless they are what a forecast can be."""
    values = [amount(table(forecast, *path), name) for name in ("p10", "p50", "p90")]
    p10, p50, p90 = (scale * value if value is not None else 0.0 for value in values)
    return (p10, p50, p90) if 0 < p10 <= p50 <= p90 else None
