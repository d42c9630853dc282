"""Settings of the mixture of sources."""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise
from typing import Literal

from pydantic import Field, field_validator, model_validator

from headwater.core.config import Settings

Rule = Literal["size", "temperature", "unimax"]


def checked_weights(weights: dict[str, float]) -> dict[str, float]:
    """Return weights that can be drawn by; raise ValueError for others."""
    bad = {name: weight for name, weight in weights.items() if not 0 <= weight < float("inf")}
    if bad:
        raise ValueError(f"weights must be finite and not negative; found {bad}")
    if weights and not any(weights.values()):
        raise ValueError("at least one weight must be above 0")
    return weights


class StageSettings(Settings):
    """Other weights from some point of the run on, as for a last part on the best text."""

    start: float = Field(gt=0, lt=1)
    """The share of the run's rows after which the stage begins."""

    weights: dict[str, float] = Field(min_length=1)
    """As in `mixture.weights`, for every source."""

    _check_weights = field_validator("weights")(staticmethod(checked_weights))


class MixtureSettings(Settings):
    """How much each source gives to training, and how often its text may be gone through."""

    weights: dict[str, float] = {}
    """Share of the tokens from each source (any scale; 0 leaves a source out). Empty: by `rule`."""

    rule: Rule = "size"
    """Without weights: by size, by size^(1/temperature), or as equally as max_epochs allows (unimax; 4 if not set)."""

    temperature: float = Field(default=2.0, ge=1, allow_inf_nan=False)
    """Of the rule of that name: 1 is by size, the larger the more equal."""

    stages: list[StageSettings] = []
    """Other weights from some point of the run on, in their order."""

    share_of_text: float = Field(default=1.0, gt=0, le=1)
    """The part of each source's rows that the run reads, chosen by the seed: the less, the more often it reads them."""

    max_epochs: float | None = Field(default=None, gt=0)
    """How often any source may be seen; a source that reaches it gives way to the others. Unset: no limit."""

    max_epochs_by_source: dict[str, float] = {}
    """The same for single sources, in place of `max_epochs`."""

    _check_weights = field_validator("weights")(staticmethod(checked_weights))

    @field_validator("max_epochs_by_source")
    @classmethod
    def _check_epochs(cls, epochs: dict[str, float]) -> dict[str, float]:
        bad = {name: value for name, value in epochs.items() if not 0 < value < float("inf")}
        if bad:
            raise ValueError(f"epochs must be finite and above 0 (weight 0 leaves a source out); found {bad}")
        return epochs

    @model_validator(mode="after")
    def _check_stages(self) -> MixtureSettings:
        starts = [stage.start for stage in self.stages]
        if any(later <= earlier for earlier, later in pairwise(starts)):
            raise ValueError(f"stages must begin one after another; found starts {starts}")
        return self

    def problem_with(self, sources: Collection[str]) -> str | None:
        """Return what of the settings doesn't fit these sources, or None."""
        weights = {"weights": self.weights} if self.weights else {}
        weights |= {f"stages[{number}].weights": stage.weights for number, stage in enumerate(self.stages)}
        for setting, table in {**weights, "max_epochs_by_source": self.max_epochs_by_source}.items():
            unknown, missing = sorted(set(table) - set(sources)), sorted(set(sources) - set(table))
            if unknown:
                return f"mixture.{setting} names {', '.join(unknown)}; sources: {', '.join(sorted(sources))}"
            if missing and setting in weights:
                return f"mixture.{setting} has no weight for {', '.join(missing)}; give each one (0 excludes it)"
        return None

    def cap_of(self, source: str) -> float | None:
        return self.max_epochs_by_source.get(source, self.max_epochs)


class ReplaySettings(Settings):
    """The text of another run, read again beside the new text so that a model that knows it doesn't forget it."""

    run: str
    """Folder of the run; its tokenizer must be this run's. Its tokens are copied, each source as replay-NAME."""
    share: float = Field(default=0.05, ge=0, lt=1)
    """Share of what is learned: 0.05 for text near the old, 0.25 for far text (arXiv:2403.08763); 0: measured alone."""
