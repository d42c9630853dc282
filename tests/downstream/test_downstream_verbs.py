"""The verbs of `headwater downstream` on a finished run: what they write is a run like any other."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from small_run import call

REWARD = """
def has_blank(prompt, written, answer):
    return float(" " in written)

def fails(prompt, written, answer):
    raise ValueError("no")
"""


@pytest.fixture
def cwd(finished, tmp_path) -> Path:
    shutil.copytree(finished.run_dir, tmp_path / "runs" / "mine")
    (tmp_path / "worth_of_blanks.py").write_text(REWARD)
    prompts = [
        json.dumps({"prompt": f"{word} {number}", "answer": "."}) for word in ("The", "A", "No") for number in range(5)
    ]
    (tmp_path / "prompts.jsonl").write_text("\n".join(prompts))
    return tmp_path


def reinforce(cwd: Path, *more: str):
    few = ("--steps", "2", "--prompts-per-step", "2", "--answers", "2", "--max-tokens", "6", "--min-passed", "0")
    return call("downstream", "rl", "runs/mine", "--prompts", "prompts.jsonl", "--plain", *few, *more, cwd=cwd)


def test_reinforcement_makes_a_run_that_writes_and_is_not_made_twice(cwd):
    said = reinforce(cwd, "--reward", "worth_of_blanks:has_blank", "--json")
    assert said.status == 0, said
    assert set(said.json) == {"before", "after", "gain", "kl_to_start", "num_steps"}
    assert said.json == json.loads((cwd / "runs/mine-rl/rl.json").read_text())
    assert call("generate", "The", "--run", "runs/mine-rl", "--max-tokens", "5", cwd=cwd).status == 0
    again = reinforce(cwd, "--reward", "worth_of_blanks:has_blank", "--json")
    assert again.json == said.json
    other = reinforce(cwd, "--reward", "exact")
    assert other.status == 1 and "another reward" in other.err
    assert call("export", "runs/mine-rl", cwd=cwd).status == 0
    card, data_card = ((cwd / "runs/mine-rl/export/hf" / name).read_text() for name in ("README.md", "DATA_CARD.md"))
    assert 'base_model:\n- "mine"\n' in card
    assert "rewards (worth\\_of\\_blanks:has\\_blank) for answers to 12" in card, "what was refused changes nothing"
    mean = said.json["before"]["mean"]["value"]
    assert f"| mean reward of sampled answers | {mean:.3f} (" in card
    assert (
        "What mine-rl was trained on" in data_card
        and "it was aligned on 12 prompts" in data_card
        and "| mine |" in data_card
    )
    (cwd / "runs/mine-rl/data/origins.json").unlink()  # as an older headwater left it
    assert call("export", "runs/mine-rl", cwd=cwd).status == 0
    card = (cwd / "runs/mine-rl/export/hf/README.md").read_text()
    assert "not recorded" in card and "pre-trained" not in card


def test_a_run_may_be_named_by_the_folder_that_one_is_in(cwd):
    shutil.copy(cwd / "prompts.jsonl", cwd / "runs/mine")
    (cwd / "runs/mine/within").mkdir()
    few = ("--steps", "1", "--prompts-per-step", "2", "--answers", "2", "--max-tokens", "6", "--min-passed", "0")
    given = ("--prompts", str(cwd / "prompts.jsonl"), "--plain", "--reward", "exact", *few)
    for here, name in (("runs/mine", "."), ("runs/mine/within", "..")):
        assert call("downstream", "rl", name, *given, cwd=cwd / here).status == 0
        assert (cwd / "runs/mine-rl/rl.json").exists()
        shutil.rmtree(cwd / "runs/mine-rl")


def test_rewards_from_0_to_1_have_intervals_between_them(cwd):
    said = reinforce(cwd, "--reward", "exact", "--json")
    assert said.json["before"]["mean"]["low"] == 0 < said.json["before"]["mean"]["high"] <= 1
    assert -1 <= said.json["gain"]["low"] <= said.json["gain"]["value"] <= said.json["gain"]["high"] <= 1


def test_a_reward_that_cannot_be_used_is_refused_before_a_folder_is_made(cwd):
    for reward, message in (
        ("exacly", "there is no reward 'exacly'"),
        ("worth_of_blanks:nothing", "can't be imported"),
        ("worth_of_blanks:fails", "the reward function failed: ValueError: no; it was of the prompt"),
    ):
        said = reinforce(cwd, "--reward", reward, "--name", "new")
        assert said.status != 0 and message in said.err, said
        assert not (cwd / "runs/new/checkpoints").exists()


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--name", "a/b", "--name 'a/b' can't name a run: a run's name has letters"),
        ("--name", "..", "--name '..' can't name a run: a run's name has letters"),
        *(("--lr", value, f"--lr {value}: ") for value in ("-1", "0", "nan", "inf")),
    ],
)
@pytest.mark.parametrize("verb", [("dpo", "--pairs"), ("rl", "--reward", "exact", "--prompts")])
def test_a_name_or_a_learning_rate_that_is_none_is_refused(cwd, verb, option, value, message):
    said = call("downstream", *verb, "prompts.jsonl", option, value, "runs/mine", cwd=cwd)
    assert said.status == 2 and message in said.err, said
