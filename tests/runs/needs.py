"""What the machine here needs for a run, as its plan has it."""

from __future__ import annotations

from headwater.runs.hardware import Needs, hardware_of
from headwater.runs.run_config import RunConfig
from headwater.runs.text_size import token_bytes


def needs_of(config: RunConfig, dtype: str | None = None) -> Needs:
    return hardware_of(config, dtype).needs(config, token_bytes(config))
