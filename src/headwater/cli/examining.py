"""Opens runs and has their models examined; what an earlier call found of the same weights isn't measured again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from headwater.checkpoint.verify import model_digest
from headwater.downstream.knowledge import VERSION, Knowledge, Stages, examine
from headwater.downstream.prompts import chat_prompts
from headwater.errors import ConfigError, HeadwaterError, TokenizerError
from headwater.evaluate.evaluator import RunEvaluator
from headwater.evaluate.scorer import Scorer
from headwater.host.waiting import sleep_under_load
from headwater.report.page import render_report
from headwater.runs.finish import load_model, open_evaluator
from headwater.runs.paths import read_kept, write_kept
from headwater.runs.run_config import config_of_run
from headwater.runs.stages import checkpoint_of

KEPT = "knowledge.json"
MADE_BY = {"rl.json": "aligned by rewards", "preference.json": "aligned by preferences"}


def examined(folders: Sequence[Path], seed: int, say: Callable[[str], None]) -> list[Knowledge]:
    """Return what the models of these runs know, the bits per byte those of the first one's held-out text."""
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        raise ConfigError(f"each stage is named once; found {', '.join(names)}")
    kept = [each for folder in folders for each in _kept(folder / KEPT)]
    evaluator, found = _evaluator(folders[0], say), []
    for folder, name in zip(folders, names, strict=True):
        digest = model_digest(checkpoint_of(folder))
        known = next((each for each in kept if (each.model, each.seed, each.run) == (digest, seed, name)), None)
        if known is None:
            say(f"examining {name}")
            with sleep_under_load():
                known = _examined(folder, name, digest, seed, evaluator)
        found.append(known)
    return found


def keep_stages(found: Stages, folder: Path) -> None:
    """Write what was found into a run's folder, and into its report where it has one."""
    write_kept(folder / KEPT, found)
    if (folder / "report.html").exists():
        render_report(folder)


def _kept(path: Path) -> list[Knowledge]:
    found = read_kept(path, Stages)
    return [] if found is None or found.version != VERSION else found.stages


def _examined(folder: Path, name: str, digest: str, seed: int, evaluator: RunEvaluator | None) -> Knowledge:
    model, tokenizer = load_model(folder)
    try:
        chat = chat_prompts(tokenizer)
    except TokenizerError:
        chat = None
    bits = None
    if evaluator is not None and evaluator.tokenizer.digest == tokenizer.digest:
        measured = evaluator.validate(model)
        bits = measured.get("bits_per_byte_real_text", measured["bits_per_byte"]["all"])
    return examine(name, stage_of(folder), digest, Scorer(model), tokenizer, chat, seed, bits)


def _evaluator(folder: Path, say: Callable[[str], None]) -> RunEvaluator | None:
    try:
        return open_evaluator(config_of_run(folder))
    except HeadwaterError as error:
        say(f"bits per byte are not measured: {error}")
        return None


def stage_of(folder: Path) -> str:
    """Return what was done to a run's model last, as its folder tells."""
    made = next((stage for file, stage in MADE_BY.items() if (folder / file).exists()), None)
    if made is not None:
        return made
    config = config_of_run(folder)
    if config.is_tuned:
        return "tuned"
    return "base" if config.init is None else "trained on"
