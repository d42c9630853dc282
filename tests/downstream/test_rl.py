"""Rewarded answers get likelier; a run that is stopped ends in the same bits; what can't work is refused."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from made_up_model import LetterTokenizer, letter_model

from headwater.core.errors import CheckpointError, ConfigError, DataError, TrainingError
from headwater.core.records import read_records
from headwater.downstream.rewards import Question
from headwater.downstream.rl import Reinforcement, RewardTask, RlSettings, leave_one_out
from headwater.downstream.samples import Writing, log_probabilities, plain_prompts
from headwater.model.optim.optimizer import Optimizer
from headwater.train.checkpoint.layout import MODEL, list_checkpoints
from headwater.train.checkpoint.load import read_tensors

TOKENIZER = LetterTokenizer()
PROMPTS = plain_prompts(TOKENIZER)
SETTINGS = RlSettings(num_steps=12, prompts_per_step=4, answers_per_prompt=8, lr=3e-3, save_every=3, min_passed=0.1)


def has_c(prompt: str, written: str, answer: str) -> float:
    return float("c" in written)


def job(reward=has_c, settings: RlSettings = SETTINGS, start: int = 0) -> Reinforcement:
    questions = [Question(a + b, "") for a in "abcd" for b in "efgh"]
    task = RewardTask(questions[:12], questions[12:], reward, PROMPTS.ids_of, Writing(6, PROMPTS.ends))
    model = letter_model(start)
    return Reinforcement(copy.deepcopy(model), model, TOKENIZER, task, settings, {"reward": "has_c"})


def test_a_prompt_without_room_for_an_answer_is_refused():
    task = job().task
    for part in ("questions", "held_out"):
        longer = replace(task, **{part: [Question("a" * 18, ""), Question("b" * 19, "")]})
        with pytest.raises(DataError, match=r"the prompt 'b{19}' has 20 tokens: .* more than the 24"):
            replace(job(), task=longer)


def weights(run_dir: Path) -> dict[str, torch.Tensor]:
    return read_tensors(list_checkpoints(run_dir)[0][1], MODEL)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> Path:
    run_dir = tmp_path_factory.mktemp("rl") / "whole"
    assert job().run(run_dir, lambda line: None) is not None
    return run_dir


def test_rewarded_answers_get_likelier_on_prompts_that_were_never_trained_on(uninterrupted):
    found = json.loads((uninterrupted / "rl.json").read_text())
    assert found["gain"]["low"] > 0.1, found["gain"]
    assert found["after"]["mean"]["value"] == pytest.approx(found["before"]["mean"]["value"] + found["gain"]["value"])
    assert found["kl_to_start"]["value"] > 0.05
    steps = read_records(uninterrupted / "records.jsonl", "step")
    assert [record["step"] for record in steps] == list(range(1, 13))
    assert steps[0]["kl_to_start"] == 0 < steps[-1]["kl_to_start"]


def test_a_signal_stops_it_after_a_save_and_the_same_call_resumes(uninterrupted, tmp_path):
    stopping = job(reward=lambda *given: (signals.append(1), len(signals) == 400 and interrupt(), has_c(*given))[-1])
    signals: list[int] = []
    said: list[str] = []

    def interrupt() -> None:
        import signal

        signal.raise_signal(signal.SIGTERM)

    assert stopping.run(tmp_path, said.append) is None
    assert said[-1].startswith("SIGTERM: saved after step")
    assert job().run(tmp_path, lambda line: None) is not None
    assert all(torch.equal(value, weights(tmp_path)[name]) for name, value in weights(uninterrupted).items())


def test_an_update_follows_the_gradient_of_the_plain_formula():
    one = job()
    optimizer = Optimizer(one.model.named_parameters(), one._optim())
    record = one.step(optimizer, 0)
    gradients = {name: parameter.grad.clone() for name, parameter in one.model.named_parameters()}
    questions = [each for each in one.questions_of(0) for _ in range(8)]
    start = copy.deepcopy(one.start)
    samples = one._write(start, questions, "step", 0)
    rewards = [one.task.worth(*pair) for pair in zip(questions, samples, strict=True)]
    loss = torch.zeros(())
    for index, (sample, reward) in enumerate(zip(samples, rewards, strict=True)):
        first = index // 8 * 8
        others = [rewards[at] for at in range(first, first + 8) if at != index]
        loss = loss - (reward - sum(others) / 7) * log_probabilities(start, [sample])[0].sum() / len(samples)
    loss.backward()
    norm = torch.stack([each.grad.norm() for each in start.parameters()]).norm()
    assert record["grad_norm"] == pytest.approx(float(norm), rel=1e-4)
    for name, parameter in start.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad * min(1, 1 / float(norm)), rtol=1e-3, atol=1e-6)


def test_an_answer_is_compared_with_the_others_to_its_prompt():
    found = leave_one_out(torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]]))
    torch.testing.assert_close(found, torch.tensor([[1.0, -0.5, -0.5], [0.0, 0.0, 0.0]]))


def test_too_few_right_answers_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(TrainingError, match="0% of the prompts have a right answer among 8"):
        job(lambda *_: 0.0).run(tmp_path / "run", lambda line: None)
    with pytest.raises(TrainingError, match="returned nan"):
        job(lambda *_: math.nan).run(tmp_path / "run", lambda line: None)
    assert not (tmp_path / "run").exists()
    with pytest.raises(ConfigError, match="2 answers a prompt"):
        replace(SETTINGS, answers_per_prompt=1)


def test_an_answer_that_is_cut_off_is_worth_nothing():
    one = job(lambda *_: 1.0)
    samples = one.rewards(one.start, one.task.questions, "check")[1]
    found = [one.task.worth(one.task.questions[0], sample) for sample in samples]
    assert found == [float(sample.has_ended) for sample in samples] and 0 < sum(found) < len(found)


def test_a_reward_that_fails_midway_names_the_prompt_and_loses_nothing(uninterrupted, tmp_path):
    calls: list[int] = []

    def fails_late(prompt: str, written: str, answer: str) -> float:
        calls.append(1)
        return has_c(prompt, written, answer) if len(calls) < 300 else math.nan

    with pytest.raises(TrainingError, match=r"returned nan .* of the prompt '[a-h]{2}'"):
        job(fails_late).run(tmp_path, lambda line: None)
    assert list_checkpoints(tmp_path)
    job().run(tmp_path, lambda line: None)
    assert all(torch.equal(value, weights(tmp_path)[name]) for name, value in weights(uninterrupted).items())


def test_a_resume_with_other_prompts_or_settings_is_refused(uninterrupted):
    with pytest.raises(CheckpointError, match="another reward, start or settings"):
        job(settings=replace(SETTINGS, lr=1e-3)).run(uninterrupted, lambda line: None)
    assert job(settings=replace(SETTINGS, save_every=5)).run(uninterrupted, lambda line: None) is not None
