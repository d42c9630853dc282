"""What a trained run has: its model; evaluation, export and report, made when what they are made from has changed.

And what the cards of an export say: how its model came to be, what was measured, and what it learned from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.core.errors import HeadwaterError
from headwater.core.files import digest_json, read_json_or_none, stage_key, write_json
from headwater.core.manifests import is_current
from headwater.core.records import amount
from headwater.export.hf_card import CardFacts
from headwater.machine.device.settings import FORMATS
from headwater.plan.text_size import synthetic_sources
from headwater.runfile.paths import Folders, RunFolder, Say, ignore
from headwater.runfile.run_config import RunConfig, config_of_run
from headwater.runs.measures import number_formats, scores_of
from headwater.runs.run_data import read_run
from headwater.runs.stages import Decision, Report, data_card_of_run, is_made, making, open_held_out
from headwater.runs.tuned import was_tuned
from headwater.tokens.read import TokenStore, open_stores_without_verifying
from headwater.train.checkpoint.layout import DERIVED, MODEL, checkpoint_of
from headwater.train.checkpoint.origins import KEPT, Origin, origins_of

if TYPE_CHECKING:
    from headwater.evaluate.evaluator import RunEvaluator
    from headwater.machine.ranks.exchange import Ranks
    from headwater.train.state import Run


EVALUATION_VERSION, EXPORT_VERSION, GGUF_VERSION = 4, 5, 1
EVALUATION = "evaluation.json"


def open_evaluator(config: RunConfig, ranks: Ranks | None = None) -> RunEvaluator:
    """Return what measures a model of this run on the validation split."""
    from headwater.evaluate.evaluator import RunEvaluator
    from headwater.machine.ranks.exchange import Ranks
    from headwater.tokens.tokenizer.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(config.folders.tokenizer)
    return RunEvaluator(
        tokenizer=tokenizer,
        held_out=open_held_out(config),
        token_bytes=tokenizer.bytes_per_token_table(),
        num_rows=config.train.validation_sequences,
        prompts=config.train.prompts,
        synthetic=synthetic_sources(config),
        ranks=ranks or Ranks(),
    )


def finish_run(config: RunConfig, say: Say, report: Report, here: RunFolder) -> None:
    """Bring everything after training up to date."""
    before = _kept_evaluation(here)
    # first: a model that can be written may be too large to be evaluated here
    export_stage(config, say, here)
    if evaluate_stage(config, say, here) != before:
        export_stage(config, ignore, here)  # its card has what was measured
    report(config, say, here)


def evaluate_stage(config: RunConfig, say: Say, here: RunFolder | None = None) -> dict[str, Any]:
    """Return the full evaluation of the newest checkpoint and the baselines on real text; what is known isn't measured.

    Where the baselines can't be measured, say why and go without: the next call tries again.
    """
    run_dir, here = config.run_dir, here or RunFolder(config.run_dir)
    found = _kept_evaluation(here)
    if found is None:
        from headwater.evaluate.evaluator import full_evaluation
        from headwater.runs.loading import load_for_evaluation

        with making("evaluation", run_dir, _evaluation_key(here)):
            with load_for_evaluation(config) as (model, forward):
                found = full_evaluation(open_evaluator(config), model, forward, say)
            write_json(run_dir / EVALUATION, found)
    if "baselines" not in found:
        from headwater.evaluate.baselines import measure_baselines
        from headwater.tokens.tokenizer.tokenizer import Tokenizer

        with making("baselines", run_dir):
            try:
                say("measuring the baselines: xz, and a 5-gram model of the training text")
                training, held_out = (real_stores(config, split) for split in ("train", "validation"))
                bits, read = measure_baselines(training, held_out, Tokenizer.load(here.tokenizer))
            except (HeadwaterError, OSError, MemoryError) as error:
                say(f"the baselines are not measured: {error or 'not enough memory'}")
                return found
            found = found | {"baselines": bits, "baseline_sample": read}
            write_json(run_dir / EVALUATION, found)
    return found


def evaluate_on_ranks(config: RunConfig, run: Run, evaluator: RunEvaluator, say: Say) -> None:
    """Measure a trained run as `evaluate_stage` does, by all ranks that trained it and in what they computed in.

    All call it together. A model that no single device holds is measured by them alone.
    """
    from headwater.evaluate.evaluator import full_evaluation
    from headwater.machine.compute import set_up

    here, first = RunFolder(config.run_dir), run.ranks.is_first
    if run.ranks.from_first(first and _kept_evaluation(here) is not None):
        return
    with set_up(run.facts), making("evaluation", here.run, _evaluation_key(here)) if first else nullcontext():
        found = full_evaluation(evaluator, run.prepared.measured, run.prepared.hidden, say)
        if first:
            write_json(here.run / EVALUATION, found | {"dtype": run.facts.evaluation_dtype})


def _evaluation_key(here: RunFolder) -> str:
    inputs = {"model": here.model_digest(), "tokens": here.digest(here.tokens)}
    return stage_key("evaluation", EVALUATION_VERSION, {}, inputs)


def _kept_evaluation(here: RunFolder) -> dict[str, Any] | None:
    """Return what was measured of a run's newest checkpoint; None where nothing was, or of another one."""
    found = here.json(here.run / EVALUATION)
    return found if isinstance(found, dict) and is_made("evaluation", here, _evaluation_key(here)) else None


def real_stores(config: RunConfig, split: str) -> list[TokenStore]:
    """Return the stores that baselines are measured on: none where the model isn't asked about every token."""
    # the sample alone is read: training has verified the whole store
    stores, synthetic = open_stores_without_verifying(config.folders.tokens, split), synthetic_sources(config)
    if any(store.has_targets for store in stores.values()):
        return []
    return [store for name, store in stores.items() if name not in synthetic]


def finish_due(config: RunConfig, here: RunFolder) -> list[Decision]:
    """Return what `finish_run` does of evaluation and export for the checkpoint that is there."""
    found = _kept_evaluation(here)
    if found is None:
        why = "the newest checkpoint isn't measured"
        return [Decision("evaluation", "do", why), Decision("export", "do", "its card has what is measured")]
    known = Decision("evaluation", "skip", "the newest checkpoint is measured")
    if "baselines" not in found:
        known = Decision("evaluation", "do", "the baselines aren't measured")
    is_there = is_current(here.hf, _export_of(config, here)[0])
    why = "the newest checkpoint is there, with what is known of it"
    return [known, Decision("export", "skip", why) if is_there else Decision("export", "do", f"not {why}")]


def _export_of(config: RunConfig, here: RunFolder) -> tuple[str, CardFacts, dict[str, Any] | None]:
    """Return the key of an export, its card, and the data card."""
    data_card, card = data_card_of_run(config, here), card_of_run(config, _kept_evaluation(here), here)
    inputs = {"data_card": digest_json(data_card), "card": digest_json(asdict(card))}
    return stage_key("export-hf", EXPORT_VERSION, {}, _exported_inputs(here) | inputs), card, data_card


def export_stage(config: RunConfig, say: Say, here: RunFolder | None = None) -> Path:
    """Write the newest checkpoint as a Hugging Face folder, unless it is there already; return the folder.

    Its card says what its model was made of and what was measured of it.
    """
    here = here or RunFolder(config.run_dir)
    key, card, data_card = _export_of(config, here)
    weights_key = stage_key("weights", EXPORT_VERSION, {}, {"model": here.model_digest()})

    def write(*given: Any, **more: Any) -> None:
        from headwater.export.hf import export_hf

        export_hf(*given, **more, card=card, data_card=data_card, weights_key=weights_key)

    return _export(config, config.folders.hf, key, write, say)


def export_gguf_stage(config: RunConfig, type: str, say: Say) -> Path:
    """Write the newest checkpoint as a GGUF file of this number format, unless it is there; return its folder."""
    from headwater.export.gguf import export_gguf

    key = stage_key("export-gguf", GGUF_VERSION, {"name": config.name}, _exported_inputs(RunFolder(config.run_dir)))
    write = partial(export_gguf, type=type, name=config.name)
    return _export(config, config.folders.export / f"gguf-{type}", key, write, say)


def _exported_inputs(here: RunFolder) -> dict[str, str]:
    return {"model": here.model_digest(), "tokenizer": here.digest(here.tokenizer)}


def _export(config: RunConfig, out_dir: Path, key: str, write: Callable[..., None], say: Say) -> Path:
    """Write the newest weights into a folder, unless they are there already; return it."""
    if is_current(out_dir, key):
        return out_dir
    from headwater.runs.loading import reading
    from headwater.train.checkpoint.load import StoredTensors

    with making("export", config.run_dir), reading(config.run_dir) as path, StoredTensors(path, MODEL) as weights:
        write(weights, config.model, config.folders.tokenizer, out_dir, key=key, is_tuned=was_tuned(config))
    say(f"exported {out_dir}")
    return out_dir


def card_of_run(config: RunConfig, evaluation: dict[str, Any] | None, here: RunFolder) -> CardFacts:
    """Return what the model card of a run says, bits per byte by the text they are of."""
    facts: dict[str, str | int | float] = {"run": config.name}
    facts |= {name: FORMATS.get(dtype, dtype) for name, dtype in number_formats(read_run(config.run_dir, here)).items()}
    origins = origins_of(checkpoint_of(config.run_dir), here.json, here.state)
    return CardFacts(origins, facts, scores_of(evaluation or {}), _changes(config.run_dir))


def _changes(run_dir: Path) -> list[tuple[str, str, str]]:
    """Return (words, before, after) of what alignment changed."""
    if not (run_dir / DERIVED).exists():
        return []
    from headwater.downstream import preference, rl  # whose model no alignment made loads neither

    of_pairs = {f"pairs whose preferred answer {words}": name for name, words in preference.MEASURES.items()}
    of_prompts = {"mean reward of sampled answers": "mean", "prompts with a right answer among several": "passed"}
    found = []
    for file, measures in {rl.RESULT: of_prompts, preference.RESULT: of_pairs}.items():
        kept = read_json_or_none(run_dir / file)
        for words, name in measures.items():
            before, after = (_estimated(kept, when, name) for when in ("before", "after"))
            if before and after:
                found.append((words, before, after))
    return found


def _estimated(kept: Any, *path: str) -> str:
    value, low, high, num = (amount(kept, *path, name) for name in ("value", "low", "high", "num"))
    return "" if value is None else f"{value:.3f} ({low:.3f} to {high:.3f}) over {num:,.0f}"


def keep_alignment(base: Path, run_dir: Path, done: Origin, items: Sequence[Any], held_out: Sequence[Any]) -> None:
    """Keep, in the folder of a run that is aligned, what its cards say: the models before it, and what it learns from.

    `items` are the prompts or pairs, `held_out` those that measure it; `done` says how they are learned from.
    """
    name = run_dir.resolve().name
    origins = [*origins_of(checkpoint_of(base)), replace(done, name=name, num_examples=len(items))]
    write_json(run_dir / KEPT, {"origins": [asdict(each) for each in origins]})
    if (card := data_card_of_run(config_of_run(base))) is not None:
        what = {"by": done.kind, "reward": done.detail, "num_examples": len(items), "num_held_out": len(held_out)}
        aligned = [*card.get("aligned_on", []), what | {"digest": digest_json([asdict(each) for each in items])}]
        write_json(Folders(run_dir).data_card, card | {"name": name, "aligned_on": aligned})
