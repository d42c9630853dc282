"""Notes on a processor that is under load while something is timed or forecast. No torch."""

from __future__ import annotations

from headwater.machine.load import LoadMeter, busy_now


def busy_before() -> str | None:
    """Return a note on forecasts made under load (it takes a tenth of a second); None on a quiet machine."""
    note = busy_now()
    if note is None:
        return None
    return (
        f"{note}. The forecast assumes an idle machine; expect about twice its time, or more. Stop them, "
        "wait, or leave them a core (machine.num_threads)"
    )


def busy_while_measured(meter: LoadMeter) -> str | None:
    """Return what to know of a step that was measured since `meter` began."""
    if (note := meter.note()) is None:
        return None
    return f"{note} while the step was measured: it is the step of a loaded machine; stop them and measure again"
