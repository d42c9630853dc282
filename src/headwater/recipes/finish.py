"""Train, evaluate, export and report: the stages that need a model in memory (and so torch)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from headwater.batches.mixture import make_plan
from headwater.batches.pack import pack_source
from headwater.batches.source import BatchSource
from headwater.checkpoint.load import read_model_weights
from headwater.checkpoint.verify import model_digest
from headwater.corpus.load import read_documents
from headwater.errors import CheckpointError, StoreError
from headwater.evaluate.examiner import RunExaminer, full_evaluation
from headwater.evaluate.yardsticks import ngram_bits_per_byte, xz_bits_per_byte
from headwater.export.hf import export_hf
from headwater.files import read_manifest_or_none, stage_key, write_json
from headwater.machine.signals import StopRequest
from headwater.model.count import count_parameters, flops_per_token
from headwater.model.transformer import Transformer
from headwater.recipes.run_config import RunConfig, config_of_run
from headwater.recipes.stages import Folders, Say, StageKeys, final_checkpoint, read_json_or_none, train_plan
from headwater.report.render import render_report
from headwater.tokenizer.special import PAD_ID
from headwater.tokenizer.tokenizer import Tokenizer
from headwater.tokens.read import TokenStore, open_stores
from headwater.train.assemble import Run, assemble
from headwater.train.loop import Display, train

EVALUATION_VERSION, EXPORT_VERSION = 1, 1


def open_batches(config: RunConfig) -> BatchSource:
    """Return the rows of the training split, mixed as the run's settings say."""
    stores = _stores(config, "train")
    if not stores:
        raise StoreError(f"{Folders(config.run_dir).tokens} holds no training text; see `headwater corpus show`")
    sources = {name: pack_source(store, config.model.seq_len) for name, store in stores.items()}
    rows = {name: source.num_rows for name, source in sources.items()}
    num_rows = config.train.num_steps * config.train.batch_tokens // config.model.seq_len
    return BatchSource(sources, make_plan(rows, config.mixture, num_rows), config.model.seq_len, config.seed)


def _stores(config: RunConfig, split: str) -> dict[str, TokenStore]:
    return open_stores(Folders(config.run_dir).tokens, split)


def open_examiner(config: RunConfig) -> RunExaminer:
    stores = _stores(config, "validation")
    tokenizer = Tokenizer.load(Folders(config.run_dir).tokenizer)
    return RunExaminer(
        tokenizer=tokenizer,
        held_out={name: pack_source(store, config.model.seq_len) for name, store in stores.items()},
        token_bytes=tokenizer.bytes_per_token_table(),
        num_rows=config.train.validation_rows,
        prompts=config.train.prompts,
        synthetic=synthetic_sources(config),
    )


def synthetic_sources(config: RunConfig) -> frozenset[str]:
    """Return the names of the sources that a program composed: what they hold is not real text."""
    return frozenset(name for name, source in config.corpus.sources.items() if source.builtin == "almanac")


def train_stage(config: RunConfig, display: Display, say: Say, plan_fields: dict[str, Any]) -> bool:
    """Train to the last step and return True, or save and return False after a signal; hold the run's lock."""
    batches = open_batches(config)
    with StopRequest() as stop:
        run = assemble(config.run_dir, train_plan(config), batches, say)
        try:
            _record_beginning(run, config, display, plan_fields)
            finished = train(run, open_examiner(config), display, stop)
            if finished:
                watt_hours, how = run.energy.watt_hours(run.seconds() - run.seconds_before)
                fields: dict[str, Any] = {"tokens_seen": run.tokens_seen, "seconds": round(run.seconds(), 1)}
                share = (run.seconds() - run.seconds_before) / run.seconds()
                fields |= {"energy_wh": round(watt_hours / share, 2), "energy_how": how}
                display(run.records.append("finish", run.step, **fields))
                if stop.signal_name is not None:
                    say(f"stopped by {stop.signal_name} after the last step; the same command does what comes after it")
            return finished and stop.signal_name is None
        finally:
            run.records.close()


def _record_beginning(run: Run, config: RunConfig, display: Display, plan_fields: dict[str, Any]) -> None:
    parameters = count_parameters(config.model)
    facts = run.machine.facts
    fields = {
        "num_steps": config.train.num_steps,
        "num_tokens": config.train.num_steps * config.train.batch_tokens,
        "parameters": {"total": parameters.total, "embedding": parameters.embedding, "matmul": parameters.matmul},
        "flops_per_token": flops_per_token(config.model),
        "device": {
            "name": facts.device_name,
            "cores": facts.num_threads,
            "dtype": facts.dtype,
            "compiled": facts.compiled,
            "torch": facts.torch_version,
            "peak_flops_per_second": facts.peak_flops_per_second,
            "peak_how": "best of several matrix multiplications, measured at the start of this attempt",
        },
        "plan": plan_fields | {"sources": mixture_fields(run.batches, config)},
    }
    if run.step:
        display(run.records.append("resume", run.step, **{"from": f"step-{run.step:09d}"}))
    display(run.records.append("start", run.step, **fields))


def mixture_fields(batches: BatchSource, config: RunConfig) -> dict[str, dict[str, float]]:
    """Return {source: {tokens, epochs}} over the whole run, from the mixture plan."""
    num_rows = config.train.num_steps * config.train.batch_tokens // config.model.seq_len
    counts, epochs = batches.plan.counts(num_rows), batches.plan.epochs(num_rows)
    return {
        name: {"tokens": counts[name] * config.model.seq_len, "epochs": round(epochs[name], 4)}
        for name in batches.plan.sources
    }


@dataclass(frozen=True)
class LoadedModel:
    """A trained model ready to be asked, with its tokenizer."""

    config: RunConfig
    model: Transformer
    tokenizer: Tokenizer


def load_model(run_dir: Path) -> LoadedModel:
    """Return the model of a run's newest checkpoint, in fp32 on the CPU; every byte of it is checked."""
    config = config_of_run(run_dir)
    model = Transformer(config.model)
    model.load_state_dict(final_weights(run_dir))
    return LoadedModel(config, model.eval(), Tokenizer.load(Folders(run_dir).tokenizer))


def final_weights(run_dir: Path) -> dict[str, Tensor]:
    """Return the weights of the newest checkpoint; raise CheckpointError, with what to do, when it is damaged."""
    path = final_checkpoint(run_dir)
    try:
        return read_model_weights(path)
    except CheckpointError as error:
        raise CheckpointError(
            f"{error}; `headwater run` puts it aside and trains on from the checkpoint before it"
        ) from error


def evaluate_stage(config: RunConfig, say: Say) -> dict[str, Any]:
    """Return the full evaluation of the newest checkpoint, measured unless evaluation.json already is of it."""
    path, keys = config.run_dir / "evaluation.json", StageKeys(config.run_dir)
    inputs = {"model": model_digest(final_checkpoint(config.run_dir)), "tokens": _tokens_digest(config)}
    key = stage_key("evaluation", EVALUATION_VERSION, {}, inputs)
    if keys.is_current("evaluation", key, path) and (known := read_json_or_none(path)) is not None:
        return known
    say("evaluating on all held-out text, and the yardsticks on the same bytes")
    examiner = open_examiner(config)
    result = full_evaluation(examiner, load_model(config.run_dir).model)
    result["yardsticks"] = measure_yardsticks(config, examiner.tokenizer)
    write_json(path, result)
    keys.done("evaluation", key)
    return result


def _tokens_digest(config: RunConfig) -> str:
    return str(read_manifest_or_none(Folders(config.run_dir).tokens).get("digest"))


def measure_yardsticks(config: RunConfig, tokenizer: Tokenizer) -> dict[str, float]:
    """Return bits per byte of `xz -9e` and of a 5-gram model on the held-out real text, the almanac left out."""
    synthetic = synthetic_sources(config)
    held_out = {name: store for name, store in _stores(config, "validation").items() if name not in synthetic}
    training = [store for name, store in _stores(config, "train").items() if name not in synthetic]
    num_bytes = sum(store.num_bytes for store in held_out.values())
    if not num_bytes:
        return {}
    corpus_dir = Folders(config.run_dir).corpus
    texts = (d.text.encode() for name in held_out for d in read_documents(corpus_dir, "validation", name))
    return {
        "xz": xz_bits_per_byte(texts, num_bytes),
        "ngram5": ngram_bits_per_byte(
            [_stream(store) for store in training],
            [_stream(store) for store in held_out.values()],
            num_bytes,
            tokenizer.vocab_size,
            tokenizer.begin_id,
            tokenizer.end_id,
        ),
    }


def _stream(store: TokenStore) -> tuple[Any, Any]:
    return store.slice(0, store.num_tokens), store.starts


def export_stage(config: RunConfig, say: Say) -> Path:
    """Write the newest checkpoint as a Hugging Face folder, unless it is there already; return the folder."""
    folders = Folders(config.run_dir)
    inputs = {
        "model": model_digest(final_checkpoint(config.run_dir)),
        "tokenizer": str(read_manifest_or_none(folders.tokenizer).get("digest")),
    }
    key = stage_key("export-hf", EXPORT_VERSION, {}, inputs)
    if read_manifest_or_none(folders.hf).get("key") == key:
        return folders.hf
    tokenizer = Tokenizer.load(folders.tokenizer)
    export_hf(
        final_weights(config.run_dir),
        config.model,
        folders.tokenizer,
        folders.hf,
        begin_id=tokenizer.begin_id,
        end_id=tokenizer.end_id,
        pad_id=PAD_ID,
        facts=model_facts(config),
        key=key,
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


def report_stage(config: RunConfig) -> Path:
    return render_report(config.run_dir)

