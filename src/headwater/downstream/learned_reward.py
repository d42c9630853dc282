"""A reward that is learned from pairs: TRL's reward model on a run's export, and its score of an answer.

D model width
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headwater.core.conversations import ASSISTANT, USER, Message
from headwater.core.intervals import Estimate
from headwater.downstream.preference import Pair, PreferenceSettings, arguments_of_pairs, ids_of, in_order, share_of
from headwater.downstream.rewards import Reward
from headwater.downstream.trl_harness import quiet_libraries, require_same, trained, trl_offline
from headwater.export.base.check import FROM_FOLDER
from headwater.model.transformer import Transformer
from headwater.tokens.tokenizer.conversation import prompt_and_answer
from headwater.tokens.tokenizer.tokenizer import Tokenizer

MODEL = "reward-model"
"The folder of a reward model in its folder; `model` in those that read on to the line break behind the answer."


@dataclass(frozen=True)
class RewardResult:
    """The share of held-out pairs whose preferred answer has the higher score, before and after."""

    before: Estimate
    accuracy: Estimate
    first_batch_difference: float
    "Of TRL's loss of the first batch from ours."
    last_loss: float
    num_steps: int


def learn_reward(
    export: Path,
    start: Transformer,
    tokenizer: Tokenizer,
    pairs: Sequence[Pair],
    held_out: Sequence[Pair],
    settings: PreferenceSettings,
    work: Path,
) -> RewardResult:
    """Write the reward model that TRL makes of the export of `start` into `work`/result.

    Raises TrainingError where the loss of its first batch isn't that of our formula (Bradley and Terry 1952).
    """
    trl = trl_offline()
    transformers, datasets = quiet_libraries()
    transformers.set_seed(settings.seed)  # the score's weights are drawn
    ordered = in_order(pairs, settings)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(export, num_labels=1, **FROM_FOLDER)
    ours = first_loss(start, model.score.weight.detach()[0], tokenizer, ordered[: settings.pairs_per_step])
    before = _right(model, tokenizer, held_out)
    trainer = trl.RewardTrainer(
        model=model,
        args=trl.RewardConfig(**arguments_of_pairs(settings, work)),
        train_dataset=datasets.Dataset.from_list([_ids(tokenizer, pair) for pair in ordered]),
        processing_class=transformers.AutoTokenizer.from_pretrained(export),
    )
    log = trained(trainer, work)
    difference = require_same(log[0], {"loss": ours})
    after = _right(model, tokenizer, held_out)
    return RewardResult(share_of(before), share_of(after), difference, float(log[-1]["loss"]), settings.num_steps)


@torch.no_grad()
def first_loss(start: Transformer, score_D: Tensor, tokenizer: Tokenizer, pairs: Sequence[Pair]) -> float:
    """Return the mean of -log sigmoid(score of the preferred answer - score of the other), by our own model."""

    def score(ids: list[int]) -> Tensor:
        tokens_BT = torch.tensor([ids])
        return start.hidden(tokens_BT, torch.zeros_like(tokens_BT))[0, -1] @ score_D

    found = [_ids(tokenizer, pair) for pair in pairs]
    margins = torch.stack([score(each["chosen_ids"]) - score(each["rejected_ids"]) for each in found])
    return float(-torch.nn.functional.logsigmoid(margins).mean())


def _ids(tokenizer: Tokenizer, pair: Pair) -> dict[str, list[int]]:
    prompt, chosen, rejected = ids_of(tokenizer, pair)
    return {"chosen_ids": prompt + chosen, "rejected_ids": prompt + rejected}


def _right(model: Any, tokenizer: Tokenizer, pairs: Sequence[Pair]) -> list[bool]:
    found = [_ids(tokenizer, pair) for pair in pairs]
    return [score_of(model, each["chosen_ids"]) > score_of(model, each["rejected_ids"]) for each in found]


@torch.no_grad()
def score_of(model: Any, ids: list[int]) -> float:
    return float(model.eval()(input_ids=torch.tensor([ids], device=model.device)).logits[0, 0])


def learned_reward(folder: Path, tokenizer: Tokenizer) -> Reward:
    """Return the score of a reward model as a reward of answers to a user's prompts."""
    transformers = quiet_libraries()[0]
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, **FROM_FOLDER)

    def reward(prompt: str, written: str, answer: str) -> float:
        before, said = prompt_and_answer(tokenizer, [Message(USER, prompt), Message(ASSISTANT, written)])
        return score_of(model, before + said)

    return reward
