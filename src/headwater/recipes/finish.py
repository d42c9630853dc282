"""What comes after training: evaluation, export and report, each done only when what it is made from has changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from headwater.checkpoint.verify import model_digest
from headwater.corpus.load import read_documents
from headwater.evaluate.baselines import ngram_bits_per_byte, xz_bits_per_byte
from headwater.evaluate.evaluator import full_evaluation
from headwater.export.hf import export_hf
from headwater.files import digest_json, is_current, stage_key, write_json
from headwater.model.count import count_parameters
from headwater.recipes.data_card import data_card_of_run
from headwater.recipes.open import final_weights, load_for_evaluation, open_evaluator, synthetic_sources
from headwater.recipes.run_config import RunConfig
from headwater.recipes.stages import Folders, Require, Say, StageKeys, final_checkpoint, read_json_or_none, stage_digest
from headwater.records import no_owner
from headwater.report.render import render_report
from headwater.tokenizer.tokenizer import Tokenizer
from headwater.tokens.read import TokenStore, open_stores

EVALUATION_VERSION, EXPORT_VERSION, REPORT_VERSION = 1, 2, 3


def evaluate_stage(config: RunConfig, say: Say, require_owner: Require = no_owner) -> dict[str, Any]:
    """Return the full evaluation of the newest checkpoint, measured unless evaluation.json already is of it."""
    path, keys = config.run_dir / "evaluation.json", StageKeys(config.run_dir, require_owner)
    inputs = {
        "model": model_digest(final_checkpoint(config.run_dir)),
        "tokens": stage_digest(Folders(config.run_dir).tokens),
    }
    key = stage_key("evaluation", EVALUATION_VERSION, {}, inputs)
    if keys.is_current("evaluation", key, path) and (known := read_json_or_none(path)) is not None:
        return known
    say("evaluating on all held-out text, and the baselines on the same bytes")
    evaluator = open_evaluator(config)
    result = full_evaluation(evaluator, *load_for_evaluation(config))
    result["yardsticks"] = measure_baselines(config, evaluator.tokenizer)
    write_json(path, result, require_owner)
    keys.done("evaluation", key)
    return result


def measure_baselines(config: RunConfig, tokenizer: Tokenizer) -> dict[str, float]:
    """Return bits per byte of `xz -9e` and of a 5-gram model on the held-out real text, the almanac left out."""
    held_out, training = _real_stores(config, "validation"), _real_stores(config, "train")
    num_bytes = sum(store.num_bytes for store in held_out.values())
    if not num_bytes:
        return {}
    corpus_dir = Folders(config.run_dir).corpus
    texts = (d.text.encode() for name in held_out for d in read_documents(corpus_dir, "validation", name))
    return {
        "xz": xz_bits_per_byte(texts, num_bytes),
        "ngram5": ngram_bits_per_byte(
            [_stream(store) for store in training.values()],
            [_stream(store) for store in held_out.values()],
            num_bytes,
            tokenizer.vocab_size,
            tokenizer.begin_id,
            tokenizer.end_id,
        ),
    }


def _real_stores(config: RunConfig, split: str) -> dict[str, TokenStore]:
    stores, synthetic = open_stores(Folders(config.run_dir).tokens, split), synthetic_sources(config)
    return {name: store for name, store in stores.items() if name not in synthetic}


def _stream(store: TokenStore) -> tuple[Any, Any]:
    return store.slice(0, store.num_tokens), store.starts


def export_stage(config: RunConfig, say: Say, require_owner: Require = no_owner) -> Path:
    """Write the newest checkpoint as a Hugging Face folder, unless it is there already; return the folder."""
    folders = Folders(config.run_dir)
    data_card = data_card_of_run(config)
    inputs = {
        "model": model_digest(final_checkpoint(config.run_dir)),
        "tokenizer": stage_digest(folders.tokenizer),
        "data_card": digest_json(data_card),
    }
    key = stage_key("export-hf", EXPORT_VERSION, {}, inputs)
    if is_current(folders.hf, key):
        return folders.hf
    tokenizer = Tokenizer.load(folders.tokenizer)
    export_hf(
        final_weights(config.run_dir),
        config.model,
        folders.tokenizer,
        folders.hf,
        begin_id=tokenizer.begin_id,
        end_id=tokenizer.end_id,
        pad_id=tokenizer.pad_id,
        facts=model_facts(config),
        data_card=data_card,
        key=key,
        before_commit=require_owner,
    )
    say(f"exported {folders.hf}")
    return folders.hf


def model_facts(config: RunConfig) -> dict[str, str | int | float]:
    """Return what the model card of an export says, all of it measured."""
    facts: dict[str, str | int | float] = {
        "run": config.name,
        "parameters": count_parameters(config.model).total,
        "training tokens": config.train.num_steps * config.train.batch_tokens,
    }
    evaluation = read_json_or_none(config.run_dir / "evaluation.json")
    if evaluation is not None:
        facts["bits per byte on held-out text"] = round(evaluation["bits_per_byte"]["all"], 4)
    return facts


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
