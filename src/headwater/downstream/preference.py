"""Preferences learned by TRL (extra `post`) on a run's export, and the result as a run again."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from headwater.base.facts import facts_of
from headwater.base.weights import model_of
from headwater.conversations import ASSISTANT, USER, Message
from headwater.downstream.lines import read_lines
from headwater.downstream.samples import Sample, log_probabilities
from headwater.downstream.trl_harness import arguments_of_trl, quiet_libraries, require_same, trained, trl_offline
from headwater.errors import ConfigError, DataError
from headwater.intervals import Estimate, share
from headwater.model.transformer import Transformer
from headwater.tokenizer.conversation import prompt_ids, render
from headwater.tokenizer.tokenizer import Tokenizer


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
class PreferenceResult:
    """What became of held-out pairs: how often the preferred answer is the likelier one, and has gained more."""

    likelier_before: Estimate
    likelier_after: Estimate
    accuracy: Estimate
    first_batch_difference: float
    "Of TRL's mean log-probability of the first batch from ours, relative to it."
    last_loss: float
    num_steps: int


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
    if any(token in text for token in tokenizer.special for text in texts):  # transformers reads it as the token
        return "a text spells a special token"
    samples = [as_sample(tokenizer, pair.prompt, answer) for answer in (pair.chosen, pair.rejected)]
    longest = max(len(sample.prompt) + len(sample.written) for sample in samples)
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
    log = trained(dpo_trainer(export, export, ordered, settings, work), work)
    first = log_likelihoods(start, tokenizer, ordered[: settings.pairs_per_step])
    ours = {"logps/chosen": fmean(chosen for chosen, _ in first), "loss": math.log(2)}
    difference = require_same(log[0], ours)
    model = model_of(facts_of(str(work / "result")))
    before, after = (log_likelihoods(each, tokenizer, held_out) for each in (start, model))
    gained = [late[0] - early[0] > late[1] - early[1] for early, late in zip(before, after, strict=True)]
    return model, PreferenceResult(
        likelier_before=share_of([chosen > rejected for chosen, rejected in before]),
        likelier_after=share_of([chosen > rejected for chosen, rejected in after]),
        accuracy=share_of(gained),
        first_batch_difference=difference,
        last_loss=float(log[-1]["loss"]),
        num_steps=settings.num_steps,
    )


def share_of(found: Sequence[bool]) -> Estimate:
    return share(sum(found), len(found))


@torch.no_grad()
def log_likelihoods(model: Transformer, tokenizer: Tokenizer, pairs: Sequence[Pair]) -> list[tuple[float, float]]:
    """Return log p of both answers of each pair, with what ends them, in nats."""
    found = []
    for pair in pairs:
        samples = [as_sample(tokenizer, pair.prompt, answer) for answer in (pair.chosen, pair.rejected)]
        log_p_N, numbers_N = log_probabilities(model, samples)
        found.append((float(log_p_N[numbers_N == 0].sum()), float(log_p_N[numbers_N == 1].sum())))
    return found


def as_sample(tokenizer: Tokenizer, prompt: str, answer: str) -> Sample:
    """Return an answer as the chat template has it, up to the line break behind it, which TRL counts, too."""
    question = [Message(USER, prompt)]
    before = prompt_ids(tokenizer, question)
    whole = render(tokenizer, [[*question, Message(ASSISTANT, answer)]])[0].ids.tolist()
    return Sample(before, whole[len(before) - 1 :], answer, True)


def dpo_trainer(export: Path, reference: Path, pairs: Sequence[Pair], settings: PreferenceSettings, work: Path) -> Any:
    """Return TRL's trainer for one pass through `pairs` in their order, in fp32; nothing of it has run yet."""
    trl = trl_offline()
    transformers, datasets = quiet_libraries()
    models = [transformers.AutoModelForCausalLM.from_pretrained(path, dtype="float32") for path in (export, reference)]
    return trl.DPOTrainer(
        model=models[0],
        ref_model=models[1],
        args=trl.DPOConfig(beta=settings.beta, **arguments_of_pairs(settings, work)),
        train_dataset=datasets.Dataset.from_list([_conversation(pair) for pair in pairs]),
        processing_class=transformers.AutoTokenizer.from_pretrained(export),
    )


def arguments_of_pairs(settings: PreferenceSettings, work: Path) -> dict[str, Any]:
    """Return what a trainer of pairs is told: they come in their order, and none is cut."""
    given = settings.num_steps, settings.pairs_per_step, settings.lr, settings.seed
    return {**arguments_of_trl(work, *given), "train_sampling_strategy": "sequential", "max_length": None}


def _conversation(pair: Pair) -> dict[str, Any]:
    return {
        "prompt": [{"role": "user", "content": pair.prompt}],
        "chosen": [{"role": "assistant", "content": pair.chosen}],
        "rejected": [{"role": "assistant", "content": pair.rejected}],
    }


def in_order(pairs: Sequence[Pair], settings: PreferenceSettings) -> list[Pair]:
    """Return the pairs of all steps: all of them, shuffled, and so again."""
    rng, found = random.Random(f"pairs {settings.seed}"), list[Pair]()
    while len(found) < settings.num_steps * settings.pairs_per_step:
        found += rng.sample(pairs, len(pairs))
    return found[: settings.num_steps * settings.pairs_per_step]
