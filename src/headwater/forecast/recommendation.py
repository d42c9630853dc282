"""Which of a budget's choices to take where laws of repeated text disagree, and what they say. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from headwater.forecast.choices import Choice, Field, LossModel
from headwater.scaling.published import NATS
from headwater.scaling.repetition import MEASURED_EPOCHS, MEASURED_RATIO, NAME, repeated_loss

MIN_SIZE_RATIO = 1.25
"A ratio of sizes from which two laws are said to disagree."


def repetition_fields(field: Field, choices: Sequence[Choice], losses: LossModel) -> dict[str, Any] | None:
    """Return what the published law of repeated text says of the choices, and which run it would take itself.

    None where no choice repeats its text, far from published runs, and for losses of own runs, in another unit.
    """
    first = choices[0]
    is_in_reach = losses.unit == NATS and losses.quantiles(field.size(first.candidate), first.tokens) is not None
    if not is_in_reach or all(choice.tokens <= field.unique for choice in choices):
        return None
    params = np.array([[float(each.params)] for each in field.candidates])
    logs_cg = np.log(repeated_loss(params, field.grid_cg, field.unique))
    logs_cg += np.array([[each.log_penalty] for each in field.candidates])
    logs_cg[[reason is not None for reason in field.refused]] = np.inf
    best, at = np.unravel_index(int(logs_cg.argmin()), logs_cg.shape)
    tokens = float(field.grid_cg[best, at])
    return {
        "law": NAME,
        "losses": [_loss(choice, field.unique) for choice in choices],
        "optimum": {
            "params": field.candidates[best].params,
            "tokens": tokens,
            "epochs": field.epochs(tokens),
            "loss": float(np.exp(logs_cg[best, at])),
        },
        "measured_to": {"params_per_unique_token": MEASURED_RATIO, "epochs": MEASURED_EPOCHS},
    }


def _loss(choice: Choice, unique: float) -> float:
    found = repeated_loss(np.array(float(choice.candidate.params)), np.array(choice.tokens), unique)
    return float(found) * float(np.exp(choice.candidate.log_penalty))


def recommended(choices: Sequence[Choice], repetition: dict[str, Any] | None) -> int:
    """Return the place of the cheapest choice that no longer run beats by every law."""
    order = sorted(range(len(choices)), key=lambda place: choices[place].cost[0])
    taken = order[0]
    for place in order[1:]:
        is_better = choices[place].cost[1] < choices[taken].cost[1]
        if repetition is not None:
            is_better = is_better and repetition["losses"][place] < repetition["losses"][taken]
        taken = place if is_better else taken
    return taken


def notes_of_laws(field: Field, choices: Sequence[Choice], repetition: dict[str, Any] | None) -> list[str]:
    """Return where the laws disagree on the size or the order of choices, and what was never measured."""
    if repetition is None:
        return []
    own, theirs, found = choices[0], repetition["optimum"], []
    ratio = own.candidate.params / theirs["params"]
    if max(ratio, 1 / ratio) > MIN_SIZE_RATIO:
        ours, paper = _run(own.candidate.params, field.epochs(own.tokens)), _run(theirs["params"], theirs["epochs"])
        found.append(
            f"the laws of repeated text disagree: headwater's takes {ours}, whose loss by {NAME} is "
            f"{repetition['losses'][0]:.3f}; that law takes {paper} (loss {theirs['loss']:.3f}). Nobody has measured "
            "which is right at this size"
        )
    taken = recommended(choices, repetition)
    for place, choice in enumerate(choices):
        if choice.cost[0] > choices[taken].cost[0]:
            found.append(
                f"the {_name(choice)} choice takes {choice.cost[0] / choices[taken].cost[0]:.1f} times the time of the "
                f"{_name(choices[taken])} one and isn't better by {NAME}: {repetition['losses'][place]:.3f} against "
                f"{repetition['losses'][taken]:.3f}"
            )
    used = [(_name(each), each.candidate.params / field.unique, field.epochs(each.tokens)) for each in choices]
    outside = [
        f"{name}: {density:.2g} and {epochs:.1f}"
        for name, density, epochs in used
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


def _name(choice: Choice) -> str:
    return " and ".join(choice.kinds)
