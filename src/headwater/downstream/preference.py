"""Preferences learned by TRL (extra `post`) on a run's export, and the result as a run again.

TRL stays offline, and what it makes of its first batch is compared with our formulas. It reports each trainer to its
makers unless the environment forbids it before the first import. It takes a GPU where there is one.
"""

from __future__ import annotations

import importlib
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from headwater.core.conversations import ASSISTANT, USER, Message
from headwater.core.errors import ConfigError, DataError, TrainingError
from headwater.core.intervals import Estimate, share
from headwater.downstream.rewards import read_lines
from headwater.downstream.samples import Sample, Writing, answers, chat_prompts, log_probabilities
from headwater.evaluate.scorer import Scorer
from headwater.export.base.facts import facts_of
from headwater.export.base.weights import FROM_FOLDER, model_of
from headwater.model.transformer import Transformer
from headwater.tokens.tokenizer.conversation import prompt_and_answer
from headwater.tokens.tokenizer.tokenizer import Tokenizer

TOLERANCE = 1e-4
"Of what TRL computes of the first batch, beside ours: fp32 in another order, and no more."
ANSWERED_AT_ONCE, NUM_EXAMPLES = 64, 3
RESULT = "preference.json"
MEASURES = {
    "preferred": "is the one that the model gives (greedy)",
    "nearer": "is nearer to what it gives than the other",
    "likelier": "is the likelier one, to the end of its message",
}
"What is measured of held-out pairs, in words after `the preferred answer`."


@dataclass(frozen=True)
class Pair:
    """Two answers to a prompt, of which people, or a rule, prefer the first."""

    prompt: str
    chosen: str
    rejected: str


@dataclass(frozen=True)
class PreferenceSettings:
    num_steps: int = 40
    pairs_per_step: int = 16
    lr: float = 5e-5
    beta: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in (("lr", self.lr), ("beta", self.beta)):
            if not 0 < value < math.inf:
                raise ConfigError(f"--{name} {value:g}: give a number above zero")


@dataclass(frozen=True)
class PairShares:
    """What a model makes of pairs: of how many the preferred answer is the one that it gives, or nearer to it.

    preferred  the greedy answer is the preferred one
    nearer     the greedy answer has more tokens, in their order, of the preferred one than of the other
    likelier   the preferred one is the likelier of both, to the end of its message and no further
    """

    preferred: Estimate
    nearer: Estimate
    likelier: Estimate


@dataclass(frozen=True)
class Example:
    """What the model answers to a held-out prompt (greedy), before and after, beside what was preferred."""

    prompt: str
    before: str
    after: str
    preferred: str


@dataclass(frozen=True)
class PreferenceResult:
    """What became of held-out pairs: what the model answers, and which answer of both is the likelier one."""

    before: PairShares
    after: PairShares
    changed: Estimate
    "Prompts whose greedy answer is another than before."
    accuracy: Estimate
    "Pairs whose preferred answer gained more than the other."
    first_batch_difference: float
    "Of TRL's mean log-probability of the first batch from ours, relative to it."
    last_loss: float
    num_steps: int
    examples: list[Example]


def read_pairs(path: Path, tokenizer: Tokenizer, seq_len: int) -> list[Pair]:
    """Return the pairs of a JSONL file; raise DataError that names the line where one is none, or too long."""

    def pair_of(fields: dict[str, Any]) -> Pair:
        try:
            pair = Pair(*(fields[name] for name in ("prompt", "chosen", "rejected")))
        except KeyError:
            raise DataError("must have prompt, chosen and rejected") from None
        if problem := _problem(pair, tokenizer, seq_len):
            raise DataError(problem)
        return pair

    pairs = read_lines(path, pair_of)
    if len(pairs) < 2:
        raise DataError(f"{path} has {len(pairs)} pairs; give at least two")
    return pairs


def _problem(pair: Pair, tokenizer: Tokenizer, seq_len: int) -> str:
    texts = (pair.prompt, pair.chosen, pair.rejected)
    if not all(isinstance(text, str) and text.strip() for text in texts):
        return "prompt, chosen and rejected are texts, none of them empty"
    if pair.chosen == pair.rejected:
        return "both answers are the same"
    prompt, *both = ids_of(tokenizer, pair)
    longest = len(prompt) + max(map(len, both))
    return f"{longest} tokens are more than the {seq_len} that the model sees" if longest > seq_len else ""


def dpo(
    export: Path,
    start: Transformer,
    tokenizer: Tokenizer,
    pairs: Sequence[Pair],
    held_out: Sequence[Pair],
    settings: PreferenceSettings,
    work: Path,
) -> tuple[Transformer, PreferenceResult]:
    """Return the model that DPO (arXiv:2305.18290) makes of the export of `start`, and what it changed.

    TRL writes into `work`. Raises TrainingError where its first batch isn't what our formula makes of it.
    """
    ordered = in_order(pairs, settings)
    log = trained(dpo_trainer(export, export, tokenizer, ordered, settings, work), work)
    first = log_likelihoods(start, tokenizer, ordered[: settings.pairs_per_step])
    ours = {"logps/chosen": fmean(chosen for chosen, _ in first), "loss": math.log(2)}
    difference = require_same(log[0], ours)
    model = model_of(facts_of(str(work / "result")))
    before, after = (log_likelihoods(each, tokenizer, held_out) for each in (start, model))
    answered, answers_now = (greedy_answers(each, tokenizer, held_out) for each in (start, model))
    return model, PreferenceResult(
        before=_shares(tokenizer, held_out, answered, before),
        after=_shares(tokenizer, held_out, answers_now, after),
        changed=share_of([answers_now[prompt].written != first.written for prompt, first in answered.items()]),
        accuracy=share_of([late[0] - early[0] > late[1] - early[1] for early, late in zip(before, after, strict=True)]),
        first_batch_difference=difference,
        last_loss=float(log[-1]["loss"]),
        num_steps=settings.num_steps,
        examples=[
            Example(pair.prompt, answered[pair.prompt].text, answers_now[pair.prompt].text, pair.chosen)
            for pair in held_out[:NUM_EXAMPLES]
        ],
    )


def _shares(
    tokenizer: Tokenizer, pairs: Sequence[Pair], answered: dict[str, Sample], log_p: Sequence[tuple[float, float]]
) -> PairShares:
    rows = [(answered[pair.prompt].written, *ids_of(tokenizer, pair)[1:]) for pair in pairs]
    return PairShares(
        preferred=share_of([written == chosen for written, chosen, _ in rows]),
        nearer=share_of([_alike(written, chosen) > _alike(written, other) for written, chosen, other in rows]),
        likelier=share_of([chosen > rejected for chosen, rejected in log_p]),
    )


def greedy_answers(model: Transformer, tokenizer: Tokenizer, pairs: Sequence[Pair]) -> dict[str, Sample]:
    """Return the likeliest answer to each prompt, cut off where it is longer than the longest of the pairs."""
    rows = {pair.prompt: ids_of(tokenizer, pair) for pair in pairs}
    prompts = [prompt for prompt, *_ in rows.values()]
    longest = max(len(answer) for _, *both in rows.values() for answer in both)
    room = model.settings.seq_len + 1 - max(map(len, prompts))
    writing, scorer = Writing(min(longest, room), chat_prompts(tokenizer).ends), Scorer(model)
    batches = [prompts[at : at + ANSWERED_AT_ONCE] for at in range(0, len(prompts), ANSWERED_AT_ONCE)]
    found = [sample for batch in batches for sample in answers(scorer, tokenizer, batch, writing)]
    return dict(zip(rows, found, strict=True))


def _alike(written: list[int], answer: list[int]) -> float:
    """Return the share of two answers' tokens that both have, in the same order."""
    return SequenceMatcher(None, written, answer, autojunk=False).ratio()


def share_of(found: Sequence[bool]) -> Estimate:
    return share(sum(found), len(found))


@torch.no_grad()
def log_likelihoods(model: Transformer, tokenizer: Tokenizer, pairs: Sequence[Pair]) -> list[tuple[float, float]]:
    """Return log p of both answers of each pair, with the end of the message and nothing behind it, in nats."""
    found = []
    for pair in pairs:
        prompt, *both = ids_of(tokenizer, pair)
        log_p_N, numbers_N = log_probabilities(model, [Sample(prompt, ids, "", True) for ids in both])
        found.append((float(log_p_N[numbers_N == 0].sum()), float(log_p_N[numbers_N == 1].sum())))
    return found


def ids_of(tokenizer: Tokenizer, pair: Pair) -> tuple[list[int], list[int], list[int]]:
    """Return the ids of the prompt and of both answers, each with the end of its message and nothing behind it."""
    prompt, chosen = prompt_and_answer(tokenizer, [Message(USER, pair.prompt), Message(ASSISTANT, pair.chosen)])
    return prompt, chosen, prompt_and_answer(tokenizer, [Message(ASSISTANT, pair.rejected)])[1]


def dpo_trainer(
    export: Path, reference: Path, tokenizer: Tokenizer, pairs: Sequence[Pair], settings: PreferenceSettings, work: Path
) -> Any:
    """Return TRL's trainer for one pass through `pairs` in their order, in fp32; nothing of it has run yet."""
    trl = trl_offline()
    transformers, datasets = quiet_libraries()
    models = [transformers.AutoModelForCausalLM.from_pretrained(path, **FROM_FOLDER) for path in (export, reference)]
    arguments = {  # pairs in their order, none cut; it saves and reports nothing
        "beta": settings.beta, "output_dir": str(work / "trl"), "max_steps": settings.num_steps, "seed": settings.seed,
        "learning_rate": settings.lr, "per_device_train_batch_size": settings.pairs_per_step, "report_to": "none",
        "gradient_checkpointing": False, "bf16": False, "save_strategy": "no", "logging_steps": 1, "max_length": None,
        "disable_tqdm": True, "dataloader_pin_memory": False, "train_sampling_strategy": "sequential",
    }  # fmt: skip
    trainer = trl.DPOTrainer(
        model=models[0],
        ref_model=models[1],
        args=trl.DPOConfig(**arguments),
        train_dataset=datasets.Dataset.from_list([dict.fromkeys(("prompt", "chosen", "rejected"), "")]),
        processing_class=transformers.AutoTokenizer.from_pretrained(export),
    )
    # in place of rows that it makes of texts: those would have the template's line break behind the end of the message
    rows = [dict(zip(("prompt_ids", "chosen_ids", "rejected_ids"), ids_of(tokenizer, pair))) for pair in pairs]
    trainer.train_dataset = datasets.Dataset.from_list(rows)
    return trainer


def in_order(pairs: Sequence[Pair], settings: PreferenceSettings) -> list[Pair]:
    """Return the pairs of all steps: all of them, shuffled, and so again."""
    rng, found = random.Random(f"pairs {settings.seed}"), list[Pair]()
    while len(found) < settings.num_steps * settings.pairs_per_step:
        found += rng.sample(pairs, len(pairs))
    return found[: settings.num_steps * settings.pairs_per_step]


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
