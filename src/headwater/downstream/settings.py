"""What follows a run that was tuned, as its file says. No torch."""

from __future__ import annotations

from pydantic import Field, field_validator

from headwater.config import Settings
from headwater.downstream.rewards import require_reward
from headwater.errors import ConfigError

CAPITALS = "capitals"


class DownstreamSettings(Settings):
    """Alignment by rewards that a program verifies, in a run of its own beside this one, and an examination of both."""

    reward: str = "exact"
    "What an answer is worth: exact, number, form, or a reward that an installed package adds (headwater.rewards)."
    prompts: str = CAPITALS
    "JSON lines of prompts with answers; capitals: countries that the conversations of that name don't ask for."
    num_steps: int = Field(default=40, ge=1)
    "Number of updates."

    @field_validator("reward")
    @classmethod
    def _check_reward(cls, name: str) -> str:
        try:
            return require_reward(name)
        except ConfigError as error:
            raise ValueError(str(error)) from None
