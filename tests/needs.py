"""What the machine here needs for a run, as its plan has it."""

from __future__ import annotations

from headwater.plan.hardware import Needs, hardware_of
from headwater.plan.text_size import token_bytes
from headwater.runfile.run_config import RunConfig


def needs_of(config: RunConfig, dtype: str | None = None) -> Needs:
    return hardware_of(config, dtype).needs(config, token_bytes(config))
