"""What text costs that is read again: the law that choices are made by, and what another law would choose. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from headwater.forecast.choices import Choice, Field, LossModel, Repetition
from headwater.scaling.arrays import FloatArray
from headwater.scaling.published import NATS
from headwater.scaling.repetition import EXPONENT, MEASURED_EPOCHS, MEASURED_RATIO, NAME, A, B, E, repeated_loss

MIN_SIZE_RATIO = 1.25
"A ratio of sizes from which two laws are said to disagree."
RELATIVE_DEVIATION = 0.5
"Of the published law's rise of loss, as a log: the penalty fitted on the same runs differs from it by about as much."
PENALTY_NAME = "the penalty of headwater's runs"


@dataclass(frozen=True)
class PublishedRepetition:
    """arXiv:2305.16264: by how much loss rises over that of as many fresh tokens, by the same law."""

    def log_cost(self, params: FloatArray, tokens: FloatArray, unique: FloatArray | float) -> FloatArray:
        fresh = E + A / params**EXPONENT + B / tokens**EXPONENT
        rise = np.log(repeated_loss(params, tokens, unique)) - np.log(fresh)  # type: ignore[arg-type]
        return np.where(tokens > unique, rise, 0.0)

    def deviation(self, params: float, tokens: float, unique: float) -> float:
        return RELATIVE_DEVIATION * float(self.log_cost(np.array(params), np.array(tokens), unique))


@dataclass(frozen=True)
class RepeatedText:
    """The law that the choices are made by, and another beside it; None where there is none of the same unit."""

    law: Repetition
    other: Repetition | None

    @classmethod
    def of(cls, losses: LossModel) -> RepeatedText:
        """Return the published law for published losses, and the table's own for a table of runs."""
        if losses.unit == NATS:
            return cls(PublishedRepetition(), losses.strength)
        return cls(losses.strength, None)


@dataclass(frozen=True)
class Optimum:
    """The size and tokens of least loss by one law of repeated text, within the budget."""

    law: str
    params: int
    tokens: float
    epochs: float


@dataclass(frozen=True)
class Reading:
    """What laws of repeated text say of choices that repeat their text.

    `losses` are those of the choices by arXiv:2305.16264 alone, in nats per token.
    """

    losses: tuple[float, ...]
    optima: tuple[Optimum, ...]
    notes: tuple[str, ...]


def reading_of(field: Field, choices: Sequence[Choice], text: RepeatedText) -> Reading | None:
    """Return it where a choice repeats its text and there is a second law, else None."""
    is_repeated = any(choice.tokens > field.unique for choice in choices)
    if text.other is None or not is_repeated:
        return None
    losses = [float(_published_loss(choice.candidate.params, choice.tokens, field.unique)) for choice in choices]
    optima = (_published_optimum(field), _optimum(PENALTY_NAME, replace(field, repetition=text.other)))
    return Reading(tuple(losses), optima, tuple(_notes(field, choices, optima)))


def _published_loss(params: float, tokens: float, unique: float) -> FloatArray:
    return repeated_loss(np.array(float(params)), np.array(tokens), unique)


def _published_optimum(field: Field) -> Optimum:
    """Return the optimum by arXiv:2305.16264 alone, of the candidates that may be chosen."""
    logs_cg = np.log(repeated_loss(field.params[:, None], field.grid_cg, field.unique))
    logs_cg += np.array([[each.log_penalty] for each in field.candidates])
    logs_cg[[reason is not None for reason in field.refused]] = np.inf
    best, at = np.unravel_index(int(logs_cg.argmin()), logs_cg.shape)
    tokens = float(field.grid_cg[best, at])
    return Optimum(NAME, field.candidates[int(best)].params, tokens, field.epochs(tokens))


def _optimum(law: str, field: Field) -> Optimum:
    tokens = float(field.best_tokens[field.best])
    return Optimum(law, field.candidates[field.best].params, tokens, field.epochs(tokens))


def _notes(field: Field, choices: Sequence[Choice], optima: Sequence[Optimum]) -> list[str]:
    own, found = choices[0].candidate.params, []
    others = [each for each in optima if max(own / each.params, each.params / own) > MIN_SIZE_RATIO]
    if others:
        sizes = "; ".join(f"{each.law} {_run(each.params, each.epochs)}" for each in others)
        found.append(
            f"laws of repeated text disagree on the size: chosen is {_run(own, field.epochs(choices[0].tokens))}, "
            f"by {sizes}. Nobody has measured which is right at this size"
        )
    used = [(choice, choice.candidate.params / field.unique, field.epochs(choice.tokens)) for choice in choices]
    outside = [
        f"{' and '.join(choice.kinds)}: {density:.2g} and {epochs:.1f}"
        for choice, density, epochs in used
        if density > MEASURED_RATIO or epochs > MEASURED_EPOCHS
    ]
    if outside:
        found.append(
            f"the cost of repetition was measured up to {MEASURED_RATIO:g} parameters a unique token and "
            f"{MEASURED_EPOCHS:g} epochs, and is extrapolated here ({'; '.join(outside)})"
        )
    return found


def _run(params: float, epochs: float) -> str:
    size = f"{params / 1e9:.3g}B" if params >= 1e9 else f"{params / 1e6:.3g}M"
    return f"{size} parameters × {epochs:.1f} epochs"
