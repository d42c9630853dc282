"""Records as a run writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from headwater.page.serve.following import FollowedRun

BATCH_TOKENS = 512
START = {"event": "start", "attempt": 1, "step": 0, "time": 1e9}


def step(number: int, attempt: int = 1, **more: Any) -> dict:
    return {
        "event": "step", "attempt": attempt, "step": number, "tokens_seen": number * BATCH_TOKENS, "loss": 2 + 6 / number,
        "lr": 0.01, "grad_norm": 0.4 + 1 / number, "tokens_per_second": 9000.0 + number, "seconds": 0.05,
        "time": 1e9 + number, **more,
    }  # fmt: skip


def steps(first: int, last: int, attempt: int = 1) -> list[dict]:
    return [step(number, attempt) for number in range(first, last + 1)]


def validation(number: int, score: float | None = None) -> dict:
    scores = {"all": score or 1 + 3 / number, "mine": 1.1 + 3 / number}
    return {"event": "validation", "attempt": 1, "step": number, "tokens_seen": number * BATCH_TOKENS, "loss": scores,
            "bits_per_byte": scores, "time": 1e9 + number}  # fmt: skip


def resume(number: int, attempt: int = 2) -> dict:
    return {"event": "resume", "attempt": attempt, "step": number, "time": 1e9 + number}


def lines(*records: dict) -> bytes:
    return b"".join(json.dumps(record, ensure_ascii=False).encode() + b"\n" for record in records)


def add(path: Path, *records: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab") as file:
        file.write(lines(*records))


def followed(path: Path, *records: dict) -> FollowedRun:
    """Return a run that has written these, and was read."""
    add(path, *records)
    run = FollowedRun(path)
    run.poll()
    return run
