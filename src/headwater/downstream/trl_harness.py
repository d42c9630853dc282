"""What every trainer of TRL (extra `post`) needs: it stays offline, and its first batch is compared with our formulas.

TRL reports each trainer to its makers unless the environment forbids it before the first import. It takes a GPU where
there is one.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from headwater.core.errors import ConfigError, TrainingError

TOLERANCE = 1e-4
"Of what TRL computes of the first batch, beside ours: fp32 in another order, and no more."


def trl_offline() -> Any:
    """Return the module trl, which stays offline where the environment says so.

    Raises ConfigError where trl isn't installed, and TrainingError where it would not stay offline.
    """
    try:
        constants = importlib.import_module("huggingface_hub.constants")
        if not (constants.HF_HUB_DISABLE_TELEMETRY and constants.HF_HUB_OFFLINE):
            raise TrainingError(
                "trl isn't told to stay offline: the environment lacks HF_HUB_DISABLE_TELEMETRY and HF_HUB_OFFLINE"
            )
        return importlib.import_module("trl")
    except ImportError as error:
        raise ConfigError(
            f"this needs trl, which can't be imported ({error}): pip install 'headwater[post]'"
        ) from error


def quiet_libraries() -> tuple[Any, Any]:
    """Return the modules transformers and datasets, without their progress bars."""
    transformers, datasets = (importlib.import_module(name) for name in ("transformers", "datasets"))
    transformers.utils.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    return transformers, datasets


def trained(trainer: Any, work: Path) -> list[dict[str, float]]:
    """Train, write the model into `work`/result, and return what was logged of each step."""
    transformers = importlib.import_module("transformers")
    trainer.remove_callback(transformers.PrinterCallback)  # it prints each step
    trainer.train()
    trainer.save_model(str(work / "result"))
    return [entry for entry in trainer.state.log_history if "loss" in entry]


def require_same(theirs: dict[str, float], ours: dict[str, float]) -> float:
    """Return how far TRL's values of the first batch are from ours at most, relative where they are above 1.

    Raises TrainingError where that isn't rounding.
    """
    difference = max(abs(theirs[name] - ours[name]) / max(1.0, abs(ours[name])) for name in ours)
    if not difference < TOLERANCE:
        found = ", ".join(f"{name} {theirs[name]:.6f} for our {ours[name]:.6f}" for name in ours)
        raise TrainingError(f"trl's first batch has {found}: it reads other tokens or weights")
    return difference
