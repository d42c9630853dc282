"""What each stage of `[downstream]` changed: the base, the tuned run and the aligned one, examined and compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from headwater.core.errors import ConfigError, HeadwaterError, TokenizerError
from headwater.core.intervals import Estimate
from headwater.core.records import no_owner
from headwater.downstream.knowledge import QUESTIONS, examine
from headwater.downstream.rl import RESULT
from headwater.downstream.samples import chat_prompts
from headwater.evaluate.evaluator import RunEvaluator
from headwater.evaluate.scorer import Scorer
from headwater.machine.host.waiting import sleep_under_load
from headwater.runfile.paths import Require, RunFolder, Say, ignore, read_kept, write_kept
from headwater.runfile.run_config import config_of_run
from headwater.runs.finish import open_evaluator
from headwater.runs.loading import load_model
from headwater.runs.stages import Report, no_report
from headwater.train.checkpoint.layout import checkpoint_of
from headwater.train.checkpoint.verify import model_digest

KEPT, VERSION = "knowledge.json", 3  # 2: shares of sampled answers and of refusals, too


@dataclass(frozen=True)
class Stage:
    """What one model said; `model` is the digest of its weights, bits per byte are of the first run's held-out text."""

    run: str
    stage: str
    model: str
    seed: int
    shares: dict[str, Estimate]
    bits_per_byte: float | None = None


@dataclass(frozen=True)
class Row:
    """One measure in every stage, None where it wasn't measured."""

    measure: str
    values: list[Estimate | None]


@dataclass(frozen=True)
class Stages:
    """Several models, the one before first, and what changed from one to the next as a table."""

    stages: list[Stage]
    table: list[Row]
    version: int = VERSION


def compare(folders: Sequence[Path], seed: int, say: Say, report: Report = no_report) -> Stages:
    """Examine runs, the last one's stages before it first; keep what was found in its folder, and in its report.

    Weights that an earlier call examined aren't examined again.
    """
    names = require_names_apart(folders)
    kept = [each for folder in folders for each in _kept(folder / KEPT)]
    evaluator, stages = _evaluator(folders[0], say), []
    for folder, name in zip(folders, names, strict=True):
        digest = model_digest(checkpoint_of(folder))
        known = next((each for each in kept if (each.model, each.seed, each.run) == (digest, seed, name)), None)
        if known is None:
            say(f"examining {name}")
            with sleep_under_load():
                known = _examine(folder, name, digest, seed, evaluator)
        stages.append(known)
    measures = [*(f"{each}{of}" for each in QUESTIONS for of in ("", ": wrong answers")), *stages[0].shares]
    table = [Row(each, [stage.shares.get(each) for stage in stages]) for each in dict.fromkeys(measures)]
    found = Stages(stages, table)
    keep_stages(found, folders[-1], report)
    return found


def require_names_apart(folders: Sequence[Path]) -> list[str]:
    """Return the names of the stages; raise ConfigError where two have one name, by which they are told apart."""
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        raise ConfigError(f"each stage is named once; found {', '.join(names)}")
    return names


def keep_stages(found: Stages, folder: Path, report: Report, require_owner: Require = no_owner) -> None:
    """Write what was found into a run's folder, and into its report if it has one."""
    write_kept(folder / KEPT, found, require_owner)
    if (folder / "report.html").exists():
        report(config_of_run(folder), ignore, require_owner, RunFolder(folder))


def _kept(path: Path) -> list[Stage]:
    found = read_kept(path, Stages)
    return [] if found is None or found.version != VERSION else found.stages


def _examine(folder: Path, name: str, digest: str, seed: int, evaluator: RunEvaluator | None) -> Stage:
    model, tokenizer = load_model(folder)
    try:
        chat = chat_prompts(tokenizer)
    except TokenizerError:
        chat = None
    bits = None
    if evaluator is not None and evaluator.tokenizer.digest == tokenizer.digest:
        measured = evaluator.validate(model)
        bits = measured.get("bits_per_byte_real_text", measured["bits_per_byte"]["all"])
    config = config_of_run(folder)
    stage = "tuned" if config.is_tuned else "base" if config.init is None else "trained on"
    stage = "aligned by rewards" if (folder / RESULT).exists() else stage
    return Stage(name, stage, digest, seed, examine(Scorer(model), tokenizer, chat, seed), bits)


def _evaluator(folder: Path, say: Say) -> RunEvaluator | None:
    try:
        return open_evaluator(config_of_run(folder))
    except HeadwaterError as error:
        say(f"bits per byte are not measured: {error}")
        return None
