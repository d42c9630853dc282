"""What the machine here needs for a run, as its plan has it."""

from __future__ import annotations

from headwater.runs.hardware import Needs, hardware_of
from headwater.runs.run_config import RunConfig
from headwater.runs.text_size import token_bytes
from headwater.runs.times import Measurement


def needs_of(config: RunConfig, measured: Measurement | None = None, dtype: str | None = None) -> Needs:
    return hardware_of(config, measured, dtype).needs(config, token_bytes(config))
