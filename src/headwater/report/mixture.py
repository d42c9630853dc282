"""How much of the training text came from each source: from the plan in the start record."""

from __future__ import annotations

from dataclasses import dataclass

from headwater.report.run_data import RunData, amount, table


@dataclass(frozen=True, slots=True)
class Share:
    """What one source gave to training: its tokens, their share of all, and how often its text was gone through."""

    tokens: float | None
    fraction: float | None
    epochs: float | None


def read_shares(run: RunData) -> dict[str, Share]:
    sources = table(run.start, "plan", "sources")
    tokens = {name: amount(source, "tokens") for name, source in sources.items()}
    total = sum(value for value in tokens.values() if value is not None)
    return {
        name: Share(value, value / total if value is not None and total else None, amount(sources[name], "epochs"))
        for name, value in tokens.items()
    }
