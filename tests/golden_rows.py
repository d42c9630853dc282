"""Tables of cases: `golden/rows/NAME.jsonl` holds a case a line, what is given and what comes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROWS = Path(__file__).parent / "golden" / "rows"


def rows(name: str) -> list[list[Any]]:
    return [json.loads(line) for line in (ROWS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
