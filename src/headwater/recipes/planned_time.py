"""What a run takes besides its steps: preparing text, validations, looks, checkpoints, what comes after. No torch."""

from __future__ import annotations

import glob
from dataclasses import dataclass
from pathlib import Path

from headwater.corpus.settings import SourceSettings
from headwater.model.count import count_parameters
from headwater.model.settings import ModelSettings
from headwater.optim.settings import OptimSettings
from headwater.plan.before import state_bytes
from headwater.plan.forecast_run import Spread
from headwater.plan.processor import constants
from headwater.recipes.run_config import RunConfig
from headwater.recipes.stages import Folders, split_tokens
from headwater.train.settings import look_steps

START_SECONDS = 3.0
"Assembling, and measuring the peak."
VALIDATION_PART = 0.376
"Seconds of a validated token over those of a trained one: first-light, as `around_steps` in processor.json."
FIRST_LIGHT_SECONDS_PER_TOKEN = 0.255 / 4096


@dataclass(frozen=True)
class Around:
    seconds: dict[str, Spread]
    how: str


def around_steps(config: RunConfig, step_seconds: float, checkpoint_seconds: float | None) -> Around:
    """Return the seconds of everything but steps; `checkpoint_seconds` is one save's where it was measured."""
    known, train = constants()["around_steps"], config.train
    deviation = constants()["log_deviation"]["around"]
    per_token = step_seconds / train.batch_tokens
    scale = around_scale(per_token)
    num_validations = len(_validated_steps(config))
    tokens = _validated_tokens(config)
    has_almanac = any(source.builtin == "almanac" for source in config.corpus.sources.values())
    look = known["look_seconds" if has_almanac else "look_seconds_without_almanac"]
    num_saves = -(-train.num_steps // train.save_every)
    save = checkpoint_seconds or checkpoint_bytes(config.model, config.optim) / known["checkpoint_bytes_per_second"]
    prepare, how = _preparation(config)
    medians = {
        "start": START_SECONDS,
        "preparation": prepare,
        "validations": num_validations * tokens * VALIDATION_PART * per_token,
        "looks": len(look_steps(train)) * look * scale,
        "checkpoints": num_saves * save,
        "after": known["after_seconds"] * scale,
    }
    return Around({name: Spread(value, deviation) for name, value in medians.items()}, how)


def _validated_steps(config: RunConfig) -> set[int]:
    """Return the steps of which `train.settings.is_validation` is true."""
    train = config.train
    every = range(train.validate_every, train.num_steps + 1, train.validate_every)
    return {*every, *look_steps(train), train.num_steps}


def _validated_tokens(config: RunConfig) -> int:
    """Return the tokens of one validation: its rows of each source, as far as there are so many."""
    asked = config.train.validation_rows * config.model.seq_len
    held_out = split_tokens(config, "validation")
    if held_out is None:
        return asked * len(config.corpus.sources)
    return sum(min(asked, num_tokens) for num_tokens in held_out.values())


def around_scale(seconds_per_token: float) -> float:
    """Return looks' and the ending's time over first-light's: half is Python's own, half goes with the model's."""
    return 0.5 + 0.5 * seconds_per_token / FIRST_LIGHT_SECONDS_PER_TOKEN


def checkpoint_bytes(model: ModelSettings, optim: OptimSettings) -> float:
    """Return weights and optimizer state: all the state but the gradients."""
    return state_bytes(model, optim) - 4 * count_parameters(model).total


def _preparation(config: RunConfig) -> tuple[float, str]:
    if (Folders(config.run_dir).tokens / "manifest.json").is_file():
        return 0.0, "text is prepared already"
    sizes = {name: source_bytes(source) for name, source in config.corpus.sources.items()}
    unknown = [name for name, size in sizes.items() if size is None]
    total = sum(size for size in sizes.values() if size is not None)
    how = f"preparation of {total / 1e6:.3g} MB at first-light's rate"
    if unknown:
        how += f"; nothing is counted for {', '.join(unknown)}, whose size isn't known"
    return total / constants()["around_steps"]["preparation_bytes_per_second"], how


def source_bytes(source: SourceSettings) -> float | None:
    """Return the bytes of a source's files as they lie on the disk, or of a package as it was when measured."""
    if source.paths is None:
        return constants()["known_source_bytes"].get(source.package or source.builtin)
    found = [Path(name) for pattern in source.paths for name in (glob.glob(pattern, recursive=True) or [pattern])]
    files = {file for path in found for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file()}
    return float(sum(file.stat().st_size for file in files)) if files else None
