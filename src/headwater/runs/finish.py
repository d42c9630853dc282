"""What comes after training: evaluation, export and report, each done only when what it is made from has changed.

Then what a run can do without: the baselines, which go into the evaluation, the model card and the report.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from headwater.checkpoint.verify import model_digest
from headwater.errors import HeadwaterError
from headwater.evaluate.baselines import measure_baselines
from headwater.evaluate.evaluator import full_evaluation
from headwater.export.hf import export_hf
from headwater.export.hf_card import write_card
from headwater.files import digest_json, is_current, stage_key, write_json
from headwater.machine.settings import FORMATS
from headwater.records import no_owner
from headwater.report.measures import baselines, number_formats
from headwater.report.page import render_report
from headwater.report.run_data import read_run
from headwater.runs.data_card import data_card_of_run
from headwater.runs.open import final_weights, load_for_evaluation, open_evaluator, synthetic_sources
from headwater.runs.paths import Folders, Require, Say, ignore, read_json_or_none, stage_digest
from headwater.runs.run_config import RunConfig
from headwater.runs.stages import StageKeys, final_checkpoint, named_if_stopped
from headwater.tokenizer.tokenizer import Tokenizer
from headwater.tokens.read import TokenStore, open_stores_without_verifying

EVALUATION_VERSION, EXPORT_VERSION, REPORT_VERSION = 2, 3, 4
EVALUATION = "evaluation.json"


def finish_run(config: RunConfig, say: Say, require_owner: Require = no_owner) -> dict[str, Any]:
    """Bring everything after training up to date and return the evaluation; what is needed comes first."""
    with named_if_stopped("evaluation"):
        evaluation = score_held_out(config, say, require_owner)
    with named_if_stopped("export"):
        export_stage(config, say, require_owner)
    with named_if_stopped("report"):
        report_stage(config, evaluation, say, require_owner)
    with named_if_stopped("baselines"):
        evaluation = add_baselines(config, evaluation, say, require_owner)
    with named_if_stopped("report"):
        report_stage(config, evaluation, ignore, require_owner)
    return evaluation


def evaluate_stage(config: RunConfig, say: Say, require_owner: Require = no_owner) -> dict[str, Any]:
    """Return the full evaluation of the newest checkpoint with the baselines; what is known isn't measured again."""
    return add_baselines(config, score_held_out(config, say, require_owner), say, require_owner)


def score_held_out(config: RunConfig, say: Say, require_owner: Require = no_owner) -> dict[str, Any]:
    """Return the newest checkpoint's evaluation, measured unless evaluation.json already is of it."""
    path, keys = config.run_dir / EVALUATION, StageKeys(config.run_dir, require_owner)
    inputs = {
        "model": model_digest(final_checkpoint(config.run_dir)),
        "tokens": stage_digest(Folders(config.run_dir).tokens),
    }
    key = stage_key("evaluation", EVALUATION_VERSION, {}, inputs)
    if keys.is_current("evaluation", key, path) and (known := read_json_or_none(path)) is not None:
        return known
    say("evaluating on all held-out text")
    with load_for_evaluation(config) as (model, forward):
        result = full_evaluation(open_evaluator(config), model, forward)
    write_json(path, result, require_owner)
    keys.done("evaluation", key)
    return result


def add_baselines(
    config: RunConfig, evaluation: dict[str, Any], say: Say, require_owner: Require = no_owner
) -> dict[str, Any]:
    """Return the evaluation with the baselines on real text; where they can't be measured, say why and go without."""
    if "yardsticks" in evaluation:
        return evaluation
    keys = StageKeys(config.run_dir, require_owner)
    try:
        training, held_out = _real_stores(config, "train"), _real_stores(config, "validation")
        bits, read = measure_baselines(training, held_out, Tokenizer.load(Folders(config.run_dir).tokenizer))
    except (HeadwaterError, OSError, MemoryError) as error:
        say(f"the baselines are not measured: {error or 'not enough memory'}")
        return evaluation
    evaluation = evaluation | {"yardsticks": bits, "baseline_sample": read}
    # evaluation.json last: once the baselines stand there, nothing here is done again
    if (folder := Folders(config.run_dir).hf).is_dir():
        write_card(folder, config.model, *card_facts(config, evaluation), require_owner)
    keys.done("baselines", stage_digest(Folders(config.run_dir).tokens))
    write_json(config.run_dir / EVALUATION, evaluation, require_owner)
    return evaluation


def _real_stores(config: RunConfig, split: str) -> list[TokenStore]:
    # the sample alone is read: training has verified the whole store
    stores, synthetic = open_stores_without_verifying(Folders(config.run_dir).tokens, split), synthetic_sources(config)
    return [store for name, store in stores.items() if name not in synthetic]


def export_stage(config: RunConfig, say: Say, require_owner: Require = no_owner) -> Path:
    """Write the newest checkpoint as a Hugging Face folder, unless it is there already; return the folder."""
    folders, keys = Folders(config.run_dir), StageKeys(config.run_dir, require_owner)
    data_card = data_card_of_run(config)
    inputs = {
        "model": model_digest(final_checkpoint(config.run_dir)),
        "tokenizer": stage_digest(folders.tokenizer),
        "data_card": digest_json(data_card),
    }
    key = stage_key("export-hf", EXPORT_VERSION, {}, inputs)
    if is_current(folders.hf, key):
        return folders.hf
    facts, scores = card_facts(config)
    export_hf(
        final_weights(config.run_dir),
        config.model,
        folders.tokenizer,
        folders.hf,
        facts=facts,
        scores=scores,
        data_card=data_card,
        key=key,
        before_commit=require_owner,
    )
    keys.done("export", key)
    say(f"exported {folders.hf}")
    return folders.hf


def card_facts(
    config: RunConfig, evaluation: dict[str, Any] | None = None
) -> tuple[dict[str, str | int | float], dict[str, float]]:
    """Return what the model card says of the run, and bits per byte by the text they are of; all of it measured.

    The evaluation is that of the run's folder unless another is given.
    """
    run = read_run(config.run_dir)
    facts: dict[str, str | int | float] = {"run": config.name}
    if run.tokens_seen is not None:
        facts["training tokens, padding included"] = int(run.tokens_seen)
    facts |= {name: FORMATS.get(dtype, dtype) for name, dtype in number_formats(run).items()}
    return facts, scores_of(run.evaluation if evaluation is None else evaluation)


def scores_of(evaluation: dict[str, Any]) -> dict[str, float]:
    """Return bits per byte by what was scored: real text, all text with the almanac, what simpler models need."""
    everything, real = evaluation.get("bits_per_byte", {}).get("all"), evaluation.get("bits_per_byte_real_text")
    is_mixed = real not in (None, everything)
    scores = {"this model, held-out real text": real} if is_mixed else {}
    name = "this model, all held-out text, with the almanac that a program writes"
    scores[name if is_mixed else "this model, held-out text"] = everything
    same = "the same real text" if is_mixed else "the same text"
    scores |= {f"{name}, {same}": value for name, value in baselines(evaluation).items()}
    return {name: score for name, score in scores.items() if score is not None}


def report_stage(config: RunConfig, evaluation: dict[str, Any], say: Say, require_owner: Require = no_owner) -> Path:
    """Write report.html, unless it is already of these records and this evaluation; return its path."""
    keys, report = StageKeys(config.run_dir, require_owner), config.run_dir / "report.html"
    records = config.run_dir / "records.jsonl"
    inputs = {"records": str(records.stat().st_size), "evaluation": str(evaluation)}
    key = stage_key("report", REPORT_VERSION, {}, inputs)
    if not keys.is_current("report", key, report):
        render_report(config.run_dir, require_owner)
        keys.done("report", key)
        say(f"wrote {report}")
    return report
