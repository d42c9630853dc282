"""Rewards reinforced by TRL's loops (extra `post`) in place of ours: RLOO (arXiv:2402.14740), GRPO (arXiv:2402.03300).

They write and update; what an answer is worth, which prompts a step takes and what is measured are ours. Samples and
their counter are in TRL's memory alone, so that such a run doesn't resume.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from headwater.base.check import FROM_FOLDER
from headwater.base.facts import facts_of
from headwater.base.weights import model_of
from headwater.downstream.rewards import Question
from headwater.downstream.rl import Reinforcement, RlResult, leave_one_out
from headwater.downstream.samples import Sample, log_probabilities
from headwater.downstream.trl_harness import arguments_of_trl, quiet_libraries, require_same, trained, trl_offline
from headwater.errors import ConfigError, DataError
from headwater.model.transformer import Transformer

ALGORITHMS = {"rloo": ("RLOOTrainer", "RLOOConfig"), "grpo": ("GRPOTrainer", "GRPOConfig")}
GRPO_EPSILON = 1e-4  # of trl, beside a group's deviation


@dataclass(frozen=True)
class TrlRlResult(RlResult):
    """Rewards before and after, and how far TRL's loss and gradient of the first batch are from ours."""

    first_batch_difference: float


def reinforce_by_trl(
    job: Reinforcement, algorithm: str, export: Path, work: Path, say: Callable[[str], None]
) -> TrlRlResult:
    """Make the model of `job` what TRL makes of the export of its start, and return what that changed.

    Raises ConfigError for an algorithm that there isn't, DataError for a prompt that TRL's tokenizer would read
    otherwise, TrainingError as Reinforcement.run does and where the first batch isn't what our formula makes of it.
    """
    if algorithm not in ALGORITHMS:
        raise ConfigError(f"--trl {algorithm!a} is none of {', '.join(ALGORITHMS)}")
    trl_offline()  # it may be missing, and measuring takes a while
    settings, task, tokenizer = job.settings, job.task, job.tokenizer
    for question in (*task.questions, *task.held_out):
        if any(token in question.prompt for token in tokenizer.special):
            raise DataError(f"the prompt {question.prompt!a:.120} spells a special token, which trl reads as one")
    job.require_worthwhile(say)
    before = job.rewards(job.start, task.held_out, "held out")[0]
    questions = [question for step in range(settings.num_steps) for question in job.questions_of(step)]
    steps: list[tuple[list[Sample], list[float]]] = []

    def reward(prompts: list[Any], completion_ids: list[list[int]], number: list[int], **_: Any) -> list[float]:
        pairs = [
            (
                questions[at],
                Sample(task.prompt_ids(questions[at].prompt), ids, tokenizer.decode(ids), ids[-1] in task.writing.ends),
            )
            for at, ids in zip(number, completion_ids, strict=True)
        ]
        worths = [task.worth(*pair) for pair in pairs]
        steps.append(([sample for _, sample in pairs], worths))
        say(f"step {len(steps):4}/{settings.num_steps}  reward {fmean(worths):.3f}")
        return worths

    log = trained(_trainer(job, algorithm, questions, reward, export, work), work)
    samples, worths = steps[0]
    rewards_PK = torch.tensor(worths).view(-1, settings.answers_per_prompt)
    difference = require_same(log[0], first_batch(job.model, algorithm, samples, rewards_PK))
    job.model.load_state_dict(model_of(facts_of(str(work / "result"))).state_dict())
    return TrlRlResult(**vars(job.result(before)), first_batch_difference=difference)


def _trainer(
    job: Reinforcement, algorithm: str, questions: Sequence[Question], reward: Any, export: Path, work: Path
) -> Any:
    trl, (transformers, datasets) = trl_offline(), quiet_libraries()
    trainer, config = (getattr(trl, name) for name in ALGORITHMS[algorithm])
    settings, ends = job.settings, sorted(job.task.writing.ends)
    num_rows = settings.prompts_per_step * settings.answers_per_prompt
    model = transformers.AutoModelForCausalLM.from_pretrained(export, **FROM_FOLDER)
    model.generation_config.eos_token_id = ends  # of a turn and of a text: the trainer takes them from here
    rows = [{"prompt": [{"role": "user", "content": each.prompt}], "number": at} for at, each in enumerate(questions)]
    return trainer(
        model=model,
        reward_funcs=reward,
        args=config(
            **arguments_of_trl(work, settings.num_steps, num_rows, settings.lr, settings.seed),
            num_generations=settings.answers_per_prompt, max_completion_length=job.task.writing.max_tokens,
            beta=0.0, shuffle_dataset=False, lr_scheduler_type="constant", steps_per_generation=1,
        ),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=transformers.AutoTokenizer.from_pretrained(export, padding_side="left"),
    )  # fmt: skip


def first_batch(model: Transformer, algorithm: str, samples: Sequence[Sample], rewards_PK: Tensor) -> dict[str, float]:
    """Return loss and gradient's norm of a first update: -advantage · log p, a mean of answers, or of GRPO of tokens.

    An advantage is RLOO's, or GRPO's in deviations of the prompt's rewards. The loss, at ratios of 1, is that of the
    advantages alone; the gradient says whether tokens, mask and weights are the same.
    """
    lengths = torch.tensor([len(sample.written) for sample in samples])
    if algorithm == "rloo":
        shares = leave_one_out(rewards_PK).flatten() / len(samples)
    else:
        centred_PK = rewards_PK - rewards_PK.mean(dim=1, keepdim=True)
        shares = (centred_PK / (rewards_PK.std(dim=1, keepdim=True) + GRPO_EPSILON)).flatten() / lengths.sum()
    model.zero_grad()
    for sample, share in zip(samples, shares, strict=True):
        (-share * log_probabilities(model, [sample])[0].sum()).backward()
    norm = torch.nn.utils.get_total_norm([each.grad for each in model.parameters() if each.grad is not None])
    weights = torch.ones_like(lengths) if algorithm == "rloo" else lengths
    return {"loss": float(-(shares * weights).sum()), "grad_norm": float(norm)}
