"""How much of the training text came from each source: from the plan in the start record, up to the last step."""

from __future__ import annotations

from dataclasses import dataclass

from headwater.batches.mixture import MixturePlan
from headwater.errors import HeadwaterError
from headwater.report.numbers import number
from headwater.report.run_data import Object, RunData, amount, table


@dataclass(frozen=True, slots=True)
class Share:
    """What one source gave to training: its tokens, their share of all, and how often its text was gone through."""

    tokens: float | None = None
    fraction: float | None = None
    epochs: float | None = None


def read_shares(run: RunData) -> dict[str, Share]:
    """Return the share of each source; {} while no plan is known or its version is another."""
    plan = table(run.start, "plan")
    num_rows = _num_rows(run)
    try:
        mixture = MixturePlan.from_json(plan)
        shares, epochs = mixture.shares(num_rows), mixture.epochs(num_rows)
    except (HeadwaterError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError):
        shares, epochs = table(plan, "shares"), table(plan, "epochs")
    return {name: _share(run, name, shares, epochs) for name in shares}


def _share(run: RunData, name: str, shares: Object, epochs: Object) -> Share:
    fraction = number(shares.get(name))
    tokens = fraction * run.tokens_seen if fraction is not None and run.tokens_seen is not None else None
    return Share(tokens, fraction, number(epochs.get(name)))


def _num_rows(run: RunData) -> int:
    """Return the rows of all steps so far, or before the first step those of the whole run."""
    step = amount(run.last("step"), "step") or amount(run.start, "num_steps") or 0
    batch_tokens = amount(run.config, "settings", "train", "batch_tokens") or 0
    seq_len = amount(run.config, "settings", "model", "seq_len") or 1
    return int(step * batch_tokens / seq_len)
