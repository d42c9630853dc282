"""Opens runs and has their models examined; what an earlier call found of the same weights isn't measured again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from headwater.core.errors import ConfigError, HeadwaterError, TokenizerError
from headwater.core.records import no_owner
from headwater.downstream import preference, rl
from headwater.downstream.knowledge import VERSION, Knowledge, Stages, compared, examine
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

KEPT = "knowledge.json"
MADE_BY = {rl.RESULT: "aligned by rewards", preference.RESULT: "aligned by preferences"}


def compare(folders: Sequence[Path], seed: int, say: Say, report: Report = no_report) -> Stages:
    """Examine a run and the stages before it, and keep what was found in the run's folder, and in its report."""
    found = compared(_examined(folders, seed, say))
    keep_stages(found, folders[-1], report)
    return found


def require_names_apart(folders: Sequence[Path]) -> list[str]:
    """Return the names of the stages; raise ConfigError where two have one name, by which they are told apart."""
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        raise ConfigError(f"each stage is named once; found {', '.join(names)}")
    return names


def _examined(folders: Sequence[Path], seed: int, say: Say) -> list[Knowledge]:
    """Return what the models of these runs know, the bits per byte those of the first one's held-out text."""
    names = require_names_apart(folders)
    kept = [each for folder in folders for each in _kept(folder / KEPT)]
    evaluator, found = _evaluator(folders[0], say), []
    for folder, name in zip(folders, names, strict=True):
        digest = model_digest(checkpoint_of(folder))
        known = next((each for each in kept if (each.model, each.seed, each.run) == (digest, seed, name)), None)
        if known is None:
            say(f"examining {name}")
            with sleep_under_load():
                known = _examine(folder, name, digest, seed, evaluator)
        found.append(known)
    return found


def keep_stages(found: Stages, folder: Path, report: Report, require_owner: Require = no_owner) -> None:
    """Write what was found into a run's folder, and into its report if it has one."""
    write_kept(folder / KEPT, found, require_owner)
    if (folder / "report.html").exists():
        report(config_of_run(folder), ignore, require_owner, RunFolder(folder))


def _kept(path: Path) -> list[Knowledge]:
    found = read_kept(path, Stages)
    return [] if found is None or found.version != VERSION else found.stages


def _examine(folder: Path, name: str, digest: str, seed: int, evaluator: RunEvaluator | None) -> Knowledge:
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


def _evaluator(folder: Path, say: Say) -> RunEvaluator | None:
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
