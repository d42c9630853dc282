"""What follows a run that was tuned, as its file says. No torch."""

from __future__ import annotations

from pydantic import Field

from headwater.core.config import Settings

CAPITALS = "capitals"


class DownstreamSettings(Settings):
    """Alignment by rewards that a program verifies, in a run of its own beside this one, and an examination of both."""

    reward: str = "exact"
    "What an answer is worth: exact, number, form, or a reward that an installed package adds (headwater.rewards)."
    prompts: str = CAPITALS
    "JSON lines of prompts with answers; capitals: countries that the conversations of that name don't ask for."
    num_steps: int = Field(default=40, ge=1)
    "Number of updates."
