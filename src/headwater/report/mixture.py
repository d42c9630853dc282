"""How much of the training text comes from each source: from the plan in the start record, over the whole run."""

from __future__ import annotations

from dataclasses import dataclass

from headwater.report.run_data import RunData, amount, table


@dataclass(frozen=True, slots=True)
class Share:
    """What one source gives to training: its tokens, their share of all, and how often its text is gone through."""

    tokens: float | None = None
    fraction: float | None = None
    epochs: float | None = None


def read_shares(run: RunData) -> dict[str, Share]:
    """Return the share of each source; {} while no plan is known."""
    sources = table(run.start, "plan", "sources")
    tokens = {name: amount(sources, name, "tokens") for name in sources}
    total = sum(value for value in tokens.values() if value is not None)
    return {
        name: Share(value, value / total if value is not None and total else None, amount(sources, name, "epochs"))
        for name, value in tokens.items()
    }
