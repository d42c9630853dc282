"""Settings of the mixture of sources."""

from __future__ import annotations

from pydantic import Field, field_validator

from headwater.config import Settings


class MixtureSettings(Settings):
    """How much each source gives to training, and how often its text may be gone through."""

    weights: dict[str, float] = {}
    """Share of the tokens from each source (any scale; 0 leaves a source out). Empty: by the sources' sizes."""

    max_epochs: float | None = Field(default=None, gt=0)
    """How often any source may be seen; a source that reaches it gives way to the others. None: no limit."""

    max_epochs_by_source: dict[str, float] = {}
    """The same for single sources, in place of `max_epochs`."""

    @field_validator("weights")
    @classmethod
    def _check_weights(cls, weights: dict[str, float]) -> dict[str, float]:
        bad = {name: weight for name, weight in weights.items() if not 0 <= weight < float("inf")}
        if bad:
            raise ValueError(f"weights must be finite and not negative; found {bad}")
        if weights and not any(weights.values()):
            raise ValueError("at least one weight must be above 0")
        return weights

    @field_validator("max_epochs_by_source")
    @classmethod
    def _check_epochs(cls, epochs: dict[str, float]) -> dict[str, float]:
        bad = {name: value for name, value in epochs.items() if not 0 < value < float("inf")}
        if bad:
            raise ValueError(f"epochs must be finite and above 0 (weight 0 leaves a source out); found {bad}")
        return epochs

    def cap_of(self, source: str) -> float | None:
        return self.max_epochs_by_source.get(source, self.max_epochs)
