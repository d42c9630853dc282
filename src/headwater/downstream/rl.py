"""Reinforcement from rewards that a program verifies: of several answers to a prompt the better ones get likelier.

Each step takes some prompts, writes several answers to each, and makes one update by the gradient of their
log-probabilities, each times how far its reward is above the mean of the others' to its prompt (leave-one-out:
arXiv:2402.14740). What is drawn depends on seed, step and place alone, so that a run that was killed ends in the same
bits.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Tensor

from headwater.core.errors import CheckpointError, ConfigError, DataError, TrainingError
from headwater.core.files import digest_json, new_folder, read_json, read_manifest_or_none, write_bytes, write_json
from headwater.core.intervals import Estimate, bounded_mean, mean_estimate, share
from headwater.core.records import Record, RunRecords
from headwater.downstream.rewards import Question, Reward, checked_reward
from headwater.downstream.samples import Sample, Writing, answers, drawn, log_probabilities
from headwater.evaluate.scorer import Scorer
from headwater.machine.host.signals import StopRequest
from headwater.machine.ranks.exchange import Ranks
from headwater.model.init import derived_seed
from headwater.model.optim.optimizer import Optimizer
from headwater.model.optim.settings import OptimSettings
from headwater.model.transformer import Transformer
from headwater.tokens.tokenizer.tokenizer import Tokenizer
from headwater.train.checkpoint.layout import DERIVED, list_checkpoints
from headwater.train.checkpoint.load import newest_checkpoint, resume_from_
from headwater.train.checkpoint.save import Saver

TOKENIZER = Path("data", "tokenizer")


def make_derived_run(base: Path, run_dir: Path, num_steps: int) -> None:
    """Give a run folder the settings and the tokenizer of the run `base`, unless it has a model already.

    A file says what it is and how many steps it is to have, so that training leaves it alone. Raises ConfigError, and
    writes nothing, where it is the folder of another run.
    """
    settings, is_derived = read_json(base / "config.json"), (run_dir / DERIVED).exists()
    tokenizers = [read_manifest_or_none(folder / TOKENIZER) for folder in (base, run_dir)]
    if ((run_dir / "config.json").exists() and not is_derived) or tokenizers[1] not in ({}, tokenizers[0]):
        raise ConfigError(f"{run_dir} is the folder of another run; remove it, or give the new run another name")
    if not is_derived:
        write_json(run_dir / DERIVED, {"base": str(base), "num_steps": num_steps})
    if not tokenizers[1]:
        copy_files(base / TOKENIZER, run_dir / TOKENIZER)
    if not list_checkpoints(run_dir):
        write_json(run_dir / "config.json", settings)


def copy_files(source: Path, target: Path) -> None:
    """Make a new folder of the files of another."""
    with new_folder(target) as folder:
        for file in sorted(source.iterdir()):
            write_bytes(folder / file.name, file.read_bytes())


def require_unused(run_dir: Path) -> None:
    """Raise ConfigError where a run folder has a model already."""
    if list_checkpoints(run_dir):
        raise ConfigError(f"{run_dir} has a model already; choose another --name")


def save_model(run_dir: Path, model: Transformer, step: int, identity: dict[str, Any]) -> None:
    """Write a model as a checkpoint from which nothing can resume; `identity` says how it was made."""
    identity |= {"model": model.settings.model_dump(mode="json")}
    saver = Saver(run_dir)
    try:
        saver.begin(
            step, model.state_dict(), {}, {"step": step, "rows_consumed": 0, "seconds": 0.0, "identity": identity}
        )
        saver.finish()
    finally:
        saver.close()


NUM_CHECKED = 64
"Prompts of those to train on that are tried before the first step."
MAX_GRAD_NORM = 1.0
RESULT = "rl.json"


@dataclass(frozen=True)
class RlSettings:
    """How long and how fast, and the least share of prompts with a right answer among several that makes it worth it.

    Below `min_passed` there is too little to reinforce: 50 steps on sums of which 3 to 12 % were right left the reward
    at 0.02 at most and took known capitals from 87 to 6 % (tried on 2026-11-28; the runs are not kept).
    """

    num_steps: int = 40
    prompts_per_step: int = 16
    answers_per_prompt: int = 8
    lr: float = 1e-4
    seed: int = 0
    save_every: int = 10
    min_passed: float = 0.3

    def __post_init__(self) -> None:
        if min(self.num_steps, self.prompts_per_step, self.save_every) < 1 or self.answers_per_prompt < 2:
            raise ConfigError(
                "reinforcement needs at least 1 step, 1 prompt a step and 2 answers a prompt, which are compared; "
                f"found {self.num_steps}, {self.prompts_per_step} and {self.answers_per_prompt}"
            )
        if not 0 < self.lr < math.inf:
            raise ConfigError(f"--lr {self.lr:g}: the learning rate is a number above zero")


@dataclass(frozen=True)
class RewardTask:
    """What is asked, what an answer is worth, how a prompt becomes ids; `held_out` is measured and never trained on.

    An answer that is cut off before its end is worth 0 at most.
    """

    questions: Sequence[Question]
    held_out: Sequence[Question]
    reward: Reward
    prompt_ids: Callable[[str], list[int]]
    writing: Writing

    def require_fits(self, seq_len: int) -> None:
        """Raise DataError for a prompt that leaves no room for its answer in the tokens that a model sees."""
        for prompt in (each.prompt for each in [*self.questions, *self.held_out]):
            if (num_tokens := len(self.prompt_ids(prompt))) + self.writing.max_tokens > seq_len + 1:
                raise DataError(
                    f"the prompt {prompt!a:.120} has {num_tokens} tokens: with an answer of {self.writing.max_tokens} "
                    f"that is more than the {seq_len} that the model sees; leave it out, or align by `headwater "
                    "downstream rl` with a smaller --max-tokens"
                )

    def worth(self, question: Question, sample: Sample) -> float:
        value = checked_reward(self.reward, question, sample.text)
        return value if sample.has_ended else min(value, 0.0)


@dataclass(frozen=True)
class Rewards:
    """What sampled answers are worth: the mean, the share of prompts with a right one, and the mean of each prompt."""

    mean: Estimate
    passed: Estimate
    by_prompt: list[float]


@dataclass(frozen=True)
class RlResult:
    """Rewards on held-out prompts before and after, and how many nats an answer there is from the start's model."""

    before: Rewards
    after: Rewards
    gain: Estimate
    kl_to_start: Estimate
    num_steps: int


@dataclass(frozen=True)
class Reinforcement:
    """A model that changes, the one that it began as, and all that decides how it changes."""

    model: Transformer
    start: Transformer
    tokenizer: Tokenizer
    task: RewardTask
    settings: RlSettings
    identity: dict[str, Any]
    "What a resume must find unchanged beside questions and settings: the start's weights, the reward's name."

    def __post_init__(self) -> None:
        self.task.require_fits(self.start.settings.seq_len)

    def run(self, run_dir: Path, say: Callable[[str], None]) -> RlResult | None:
        """Train in a run folder, from its newest checkpoint where there is one, and write RUN/rl.json.

        A run that is done gives what it found. Return None where a signal stopped it after a save. Raises TrainingError
        where too few prompts get a right answer, before anything is written, or where the reward function fails.
        """
        optimizer = Optimizer(self.model.named_parameters(), self._optim())
        found, before = newest_checkpoint(run_dir, say), None
        if found is not None:
            if found.state["identity"] != self._identity():
                raise CheckpointError(
                    f"{found.path} was trained with other prompts, another reward, start or settings; remove "
                    f"{run_dir}, or give the new run another name"
                )
            found = resume_from_(found, run_dir, self.model.state_dict(), optimizer.state_tensors(), say, Ranks())
            if found.step == self.settings.num_steps and (run_dir / RESULT).exists():
                return TypeAdapter(RlResult).validate_json((run_dir / RESULT).read_bytes())
        else:
            self.require_worthwhile(say)
        say(f"answering {len(self.task.held_out):,} held-out prompts with the model before training")
        before = self.rewards(self.start, self.task.held_out, "held out")[0]
        records = RunRecords(run_dir / "records.jsonl", time.time)
        saver = Saver(run_dir, num_kept=2, before_commit=records.sync)
        first = 0 if found is None else found.step
        try:
            records.append("start" if found is None else "resume", first, reward_held_out=before.mean.value)
            if not self._steps(first, optimizer, records, saver, say):
                return None
            say(f"answering {len(self.task.held_out):,} held-out prompts with the model after training")
            result = self.result(before)
            records.append("finish", self.settings.num_steps, gain=asdict(result.gain))
        finally:
            saver.close()
            records.close()
        write_json(run_dir / RESULT, asdict(result))
        return result

    def _steps(
        self, first: int, optimizer: Optimizer, records: RunRecords, saver: Saver, say: Callable[[str], None]
    ) -> bool:
        """Return whether the last step was reached."""
        settings = self.settings
        with StopRequest() as stop:
            for step in range(first, settings.num_steps):
                record = records.append("step", step + 1, **self.step(optimizer, step))
                say(_line(record, settings.num_steps))
                is_last = step + 1 == settings.num_steps or stop.signal_name is not None
                if is_last or (step + 1) % settings.save_every == 0:
                    state = {"step": step + 1, "rows_consumed": 0, "seconds": 0.0, "identity": self._identity()}
                    saver.begin(step + 1, self.model.state_dict(), optimizer.state_tensors(), state)
                if stop.signal_name is not None:
                    say(f"{stop.signal_name}: saved after step {step + 1}; the same command resumes")
                    break
            saver.finish()
        return stop.signal_name is None or step + 1 == settings.num_steps

    def step(self, optimizer: Optimizer, number: int) -> dict[str, float]:
        """Make the update after `number` others and return what is recorded of it."""
        num_each = self.settings.answers_per_prompt
        questions = [each for each in self.questions_of(number) for _ in range(num_each)]
        samples = self._write(self.model, questions, "step", number)
        worths = [self.task.worth(*pair) for pair in zip(questions, samples, strict=True)]
        rewards_PK = torch.tensor(worths).view(-1, num_each)
        distances, grad_norm = self._update(optimizer, samples, leave_one_out(rewards_PK).flatten(), number)
        return {
            "reward": float(rewards_PK.mean()),
            "passed": float((rewards_PK > 0).any(dim=1).float().mean()),
            "kl_to_start": fmean(distances),
            "grad_norm": grad_norm,
            "tokens_per_answer": fmean(len(sample.written) for sample in samples),
        }

    def _update(
        self, optimizer: Optimizer, samples: list[Sample], advantages: Tensor, step: int
    ) -> tuple[list[float], float]:
        """Return log p of each sample less what it was at the start, and the gradient's norm."""
        distances: list[float] = []
        optimizer.zero_grad()
        num_each = self.settings.answers_per_prompt
        for first in range(0, len(samples), num_each):  # the activations of one prompt's answers are held at a time
            part = samples[first : first + num_each]
            log_p_N, numbers_N = log_probabilities(self.model, part)
            (-(log_p_N * advantages[first + numbers_N]).sum() / len(samples)).backward()
            distances += self._distances(part, log_p_N.detach(), numbers_N)
        grad_norm = float(torch.nn.utils.clip_grad_norm_(self.model.parameters(), MAX_GRAD_NORM))
        if not grad_norm < float("inf"):
            raise TrainingError(f"the gradient of step {step + 1} is not finite; lower the learning rate")
        optimizer.step(1.0, step)
        return distances, grad_norm

    @torch.no_grad()
    def _distances(self, samples: list[Sample], log_p_N: Tensor, numbers_N: Tensor) -> list[float]:
        from_start_N = log_p_N - log_probabilities(self.start, samples)[0]
        return torch.zeros(len(samples)).index_add(0, numbers_N, from_start_N).tolist()

    def questions_of(self, step: int) -> list[Question]:
        """Return a step's questions: all of them, shuffled, one after the other, and so again."""
        size, found = len(self.task.questions), []
        for number in range(step * self.settings.prompts_per_step, (step + 1) * self.settings.prompts_per_step):
            generator = torch.Generator().manual_seed(derived_seed(self.settings.seed, "order", number // size))
            found.append(self.task.questions[int(torch.randperm(size, generator=generator)[number % size])])
        return found

    def _write(self, model: Transformer, questions: Sequence[Question], *purpose: object) -> list[Sample]:
        prompts = [self.task.prompt_ids(question.prompt) for question in questions]
        return answers(Scorer(model), self.tokenizer, prompts, self.task.writing, drawn(self.settings.seed, *purpose))

    def rewards(self, model: Transformer, questions: Sequence[Question], purpose: str) -> tuple[Rewards, list[Sample]]:
        """Return what several sampled answers to each question are worth; the same draws for any model."""
        num_each, samples, by_prompt, passed = self.settings.answers_per_prompt, [], [], []
        for first in range(0, len(questions), self.settings.prompts_per_step):
            part = questions[first : first + self.settings.prompts_per_step]
            repeated = [each for each in part for _ in range(num_each)]
            written = self._write(model, repeated, purpose, first)
            worths = [self.task.worth(*pair) for pair in zip(repeated, written, strict=True)]
            by_prompt += [fmean(worths[at : at + num_each]) for at in range(0, len(worths), num_each)]
            passed += [max(worths[at : at + num_each]) > 0 for at in range(0, len(worths), num_each)]
            samples += written
        return Rewards(_mean(by_prompt, by_prompt), share(sum(passed), len(passed)), by_prompt), samples

    def require_worthwhile(self, say: Callable[[str], None]) -> None:
        """Raise TrainingError where too few prompts get a right answer."""
        settings = self.settings
        num_checked = min(NUM_CHECKED, len(self.task.questions))
        checked = random.Random(f"check {settings.seed}").sample(self.task.questions, num_checked)
        found = self.rewards(self.start, checked, "check")[0]
        say(f"{found.passed.value:.0%} of {found.passed.num} prompts have a right answer among "
            f"{settings.answers_per_prompt}; mean reward {found.mean.value:.3f}")  # fmt: skip
        if found.passed.value < settings.min_passed:
            raise TrainingError(
                f"{found.passed.value:.0%} of the prompts have a right answer among {settings.answers_per_prompt}, and "
                f"below {settings.min_passed:.0%} there is too little to reinforce: it would unlearn more than it "
                "learns. Ask what the model knows, tune it on more examples first, or let `headwater downstream rl` "
                "begin below that, by --min-passed"
            )

    def result(self, before: Rewards) -> RlResult:
        """Measure what the model has come to, on held-out prompts."""
        after, samples = self.rewards(self.model, self.task.held_out, "held out")
        gains = [late - early for late, early in zip(after.by_prompt, before.by_prompt, strict=True)]
        distances: list[float] = []
        with torch.no_grad():
            for first in range(0, len(samples), self.settings.answers_per_prompt):
                part = samples[first : first + self.settings.answers_per_prompt]
                distances += self._distances(part, *log_probabilities(self.model, part))
        num_steps = self.settings.num_steps
        gain = _mean(gains, [*before.by_prompt, *after.by_prompt], least=-1.0)
        return RlResult(before, after, gain, mean_estimate(distances), num_steps)

    def _optim(self) -> OptimSettings:
        lr = self.settings.lr
        return OptimSettings(
            name="adamw", matrix_lr=lr, embedding_lr=lr, head_lr=lr, vector_lr=lr, weight_decay=0.0, beta1=0.9,
            beta2=0.99, eps=1e-8,
        )  # fmt: skip

    def _identity(self) -> dict[str, Any]:
        task, settings = self.task, asdict(self.settings)
        questions = [[asdict(each) for each in part] for part in (task.questions, task.held_out)]
        del settings["save_every"]
        facts = {"questions": digest_json(questions), "max_tokens": task.writing.max_tokens}
        # by its model another run can start from it
        return self.identity | settings | facts | {"model": self.model.settings.model_dump(mode="json")}


def _mean(values: Sequence[float], rewards: Sequence[float], least: float = 0.0) -> Estimate:
    """Return the mean with an interval from `least` to 1 where rewards are from 0 to 1; those of a function may not."""
    is_bounded = min(rewards) >= 0 and max(rewards) <= 1
    return bounded_mean(values, least, 1.0) if is_bounded else mean_estimate(values)


def leave_one_out(rewards_PK: Tensor) -> Tensor:
    """Return each reward less the mean of the others to its prompt: P prompts, K answers to each."""
    num_each = rewards_PK.shape[1]
    return (rewards_PK - rewards_PK.mean(dim=1, keepdim=True)) * num_each / (num_each - 1)


def _line(record: Record, num_steps: int) -> str:
    return (
        f"step {record['step']:4}/{num_steps}  reward {record['reward']:.3f}  prompts with a right answer "
        f"{record['passed']:.0%}  KL to the start {record['kl_to_start']:.2f} nats  "
        f"{record['tokens_per_answer']:.1f} tokens an answer"
    )
