"""What answers are worth, and what a reward that can't be used says before anything is trained."""

from __future__ import annotations

import json
import math
import operator
import sys
from importlib.metadata import EntryPoint

import pytest
from golden_rows import rows

from headwater.core.errors import ConfigError, DataError, TrainingError
from headwater.downstream import rewards
from headwater.downstream.rewards import (
    Question,
    checked_reward,
    read_questions,
    require_answers,
    reward_at,
    reward_named,
)
from headwater.runfile.run_config import config_record, load_run
from headwater.runs.downstream import RewardedPrompts, require_alignable


@pytest.mark.parametrize(("name", "written", "answer", "expected"), rows("built_in_rewards"))
def test_built_in_rewards(name, written, answer, expected):
    assert reward_named(name)("?", written, answer) == expected


def test_a_person_names_a_function_of_a_module_or_of_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "of_mine.py").write_text("def score(prompt, written, answer): return 7.0")
    for place in ("of_mine.py:score", f"{tmp_path}/of_mine.py:score", "of_mine:score"):
        assert reward_at(place)("?", "", "") == 7
    assert reward_at("operator:concat") is operator.concat
    for place in ("no_such_module:f", "no_such_file.py:f", "math:no_such_function", "math:pi"):
        with pytest.raises(ConfigError, match=place.split(":", maxsplit=1)[0]):
            reward_at(place)


def test_a_package_adds_rewards(monkeypatch):
    entry = EntryPoint("whole", "operator:concat", "headwater.rewards")
    monkeypatch.setattr(rewards, "entry_points", lambda group: [entry] if group == entry.group else [])
    assert reward_named("whole") is operator.concat
    with pytest.raises(ConfigError, match="no reward 'exactly'; give exact, number, form, whole"):
        reward_named("exactly")


@pytest.mark.parametrize("named", ["os:execlp", "evil:score", "evil.py:score", "evil", "folder", "builtins:eval"])
def test_no_run_file_names_a_function_and_one_that_did_can_still_be_opened(tmp_path, monkeypatch, named):
    """By no way: a file, one that it extends, an override, the settings that a run folder holds."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.py").write_text("open('ran', 'w')\ndef score(*given): return 1.0")
    (tmp_path / "folder").mkdir()
    (tmp_path / "direct.toml").write_text(f'extends = "first-light"\n[downstream]\nreward = "{named}"\n')
    (tmp_path / "indirect.toml").write_text('extends = "direct.toml"\nname = "other"\n')
    saved = config_record(*load_run("first-light"))
    saved["settings"]["downstream"] = {"reward": named}
    (tmp_path / "runs/kept").mkdir(parents=True)
    (tmp_path / "runs/kept/config.json").write_text(json.dumps(saved))
    doors = (["direct.toml"], ["indirect.toml"], ["runs/kept"], ["first-light", [f"downstream.reward={named}"]])
    for door in doors:
        config, _ = load_run(*door)
        with pytest.raises(ConfigError, match=f"there is no reward '{named}'"):
            require_alignable(config)
    assert not (tmp_path / "ran").exists()


def test_a_folder_named_as_a_reward_that_is_built_in_hides_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in rewards.BUILT_IN:
        (tmp_path / name).mkdir()
        RewardedPrompts([], [], name)


def test_a_function_that_fails_or_returns_no_number_is_named_with_its_prompt():
    def fails(prompt, written, answer):
        raise KeyError("lost")

    for bad in (fails, lambda *_: math.nan, lambda *_: math.inf, lambda *_: None, lambda *_: "1"):
        with pytest.raises(TrainingError, match=r"the reward function .*the prompt 'why'.*the text 'so'"):
            checked_reward(bad, Question("why", ""), "so")
    with pytest.raises(TrainingError, match="unterminated"):
        checked_reward(reward_named("form"), Question("why", "[a-"), "so")
    assert checked_reward(lambda *_: True, Question("why", ""), "so") == 1.0


def test_a_built_in_reward_needs_an_answer_to_each_prompt_and_form_an_expression():
    for name in ("exact", "number", "form"):
        with pytest.raises(DataError, match=f"the prompt 'why' is empty, .*; the reward {name} needs one"):
            require_answers(name, [Question("2 + 2", "4"), Question("why", " ")])
    with pytest.raises(DataError, match="the prompt 'why' is no regular expression: unterminated"):
        require_answers("form", [Question("why", "[a-")])
    require_answers("exact", [Question("why", "[a-")])
    require_answers("module:function", [Question("why", "")])


def test_questions_are_read_line_by_line_and_a_bad_line_is_named(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "2 + 2 =", "answer": 4}\n\n{"prompt": "free"}\n', encoding="utf-8")
    assert read_questions(path) == [Question("2 + 2 =", "4"), Question("free", "")]
    for line, message in (
        ("{", ":2: is no JSON"),
        ("[]", ":2: must be"),
        ('{"prompt": ""}', ":2: must be"),
        ('{"prompt": "a", "answer": null}', ":2: must be"),
        ('{"answer": "a"}', ":2: must be"),
        ('{"prompt": "first"}', "a second time"),
    ):
        path.write_text(f'{{"prompt": "first"}}\n{line}\n', encoding="utf-8")
        with pytest.raises(DataError, match=message):
            read_questions(path)
    path.write_bytes(b"\xff")
    with pytest.raises(DataError, match="UTF-8"):
        read_questions(path)
    path.write_text("\n")
    with pytest.raises(DataError, match="has 0 prompts"):
        read_questions(path)
