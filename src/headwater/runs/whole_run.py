"""What the record of a run's end says of all processes that trained it, of which the last one alone lives to say it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headwater.records import Record


def memory_fields(records: Sequence[Record], attempt: int, peak: int | None) -> dict[str, Any]:
    """Return the most memory that a process of the run held, and how it is known; `attempt`, the last, held `peak`.

    Every save says what its process held. None where one of them took steps and left no peak: the others' may be lower,
    for want of what it had done before it began to train. `records` are all, also of steps that were done again.
    """
    peaks: dict[int, int | None] = {r["attempt"]: None for r in records if r.get("event") in ("step", "skipped")}
    peaks |= {r["attempt"]: r.get("peak_memory_bytes") for r in records if r.get("event") == "checkpoint"}
    peaks |= {attempt: peak}
    known = [found for found in peaks.values() if found is not None]
    if len(known) < len(peaks):
        return {"peak_memory_bytes": None, "peak_memory_how": _why_unknown(len(peaks), len(known))}
    how = "peak of the process" if len(peaks) == 1 else f"largest peak of the {len(peaks)} processes that trained"
    return {"peak_memory_bytes": max(known), "peak_memory_how": how}


def _why_unknown(num_processes: int, num_known: int) -> str:
    held_more = "not known apart from what the process held before training"
    if num_processes == 1:
        return held_more
    return (
        f"{num_processes - num_known} of the {num_processes} processes that trained left no peak: killed before a "
        f"save, or {held_more}"
    )


def audit_fields(records: Sequence[Record]) -> dict[str, Any]:
    """Return what audits came to: steps computed twice, how often the two differed, the largest error of rounding.

    {} where nothing was computed twice.
    """
    num_steps = sum(bool(record.get("audited")) for record in records)
    num_differing = sum(record.get("event") == "audit" for record in records)
    errors = [record["gradient_error"] for record in records if "gradient_error" in record]
    audits = {"audits": {"num_steps": num_steps, "num_differing": num_differing}} if num_steps or num_differing else {}
    return audits | ({"gradient_error": max(errors)} if errors else {})
