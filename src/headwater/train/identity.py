"""What a run must keep from its first step to its last, so that it can resume from its checkpoints. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headwater.batches.settings import MixtureSettings
from headwater.device.settings import MachineSettings
from headwater.errors import CheckpointError
from headwater.model.settings import ModelSettings
from headwater.optim.settings import OptimSettings, ScheduleSettings
from headwater.train.settings import TrainSettings

WHEN_ABSENT: dict[str, Any] = {
    "model.rope_scaling": None,
    "model.attention_bias": False,
    "model.sliding_window": None,
    "train.half_length_fraction": 0.0,
    "train.exact": False,
    "mixture.rule": "size",
    "mixture.temperature": 2.0,
    "mixture.stages": [],
    "mixture.share_of_text": 1.0,
}
"What older checkpoints don't name, and how they were trained."

FIXED = """\
A run keeps its seed, mixture, model, optimizer, schedule, batch and number of steps; it can't be trained further yet.
train.save_every, train.validate_every, train.num_probes and machine.* may change.
To resume this run, put the old values back; or start a new run under another name (name=…)"""


@dataclass(frozen=True)
class TrainPlan:
    """The settings that decide what is trained; what must not change of them is in every checkpoint."""

    seed: int
    mixture: MixtureSettings
    model: ModelSettings
    optim: OptimSettings
    schedule: ScheduleSettings
    train: TrainSettings
    machine: MachineSettings

    def identity(self) -> dict[str, Any]:
        """Return what must be equal between a checkpoint and the run that resumes from it, as far as settings say."""
        return {
            "seed": self.seed,
            "mixture": self.mixture.model_dump(),
            "model": self.model.model_dump(),
            "optim": self.optim.model_dump(),
            "schedule": self.schedule.model_dump(),
            "train": self.train.model_dump(
                include={"num_steps", "batch_tokens", "microbatch_tokens", "half_length_fraction", "exact"}
            ),
        }


def require_same(checkpoint: Path, saved: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise CheckpointError, with the old value and the new one, when `saved` differs in anything that `now` has."""
    before, after = WHEN_ABSENT | _flat(saved), _flat(now)
    changed = [name for name in after if before.get(name) != after[name]]
    changed += [name for name in before if name not in after and name.split(".")[0] in now]
    if not changed:
        return
    lines = "\n".join(f"  {name}: was {_shown(before.get(name))}, is {_shown(after.get(name))}" for name in changed)
    raise CheckpointError(f"{checkpoint} was trained with other settings:\n{lines}\n{FIXED}")


def _shown(value: Any) -> str:
    text = "not set" if value is None else str(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in table.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat
