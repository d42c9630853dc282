"""What the page says of a run, as plain values."""

from __future__ import annotations

import json

import pytest
from made_run import START, followed, step

from headwater.page.serve.following import FollowedRun
from headwater.page.serve.run_page import compared, run_page

REWARDED = [
    {"event": "step", "attempt": 1, "step": step, "reward": step / 10, "kl_to_start": 0.1 * step, "time": 2.0}
    for step in (1, 2, 3)
]
SAVE = {"event": "checkpoint", "attempt": 1, "step": 3, "peak_memory_bytes": 2**30, "bytes": 1, "seconds": 1}


def test_a_run_that_rewards_train_shows_them_over_its_steps(tmp_path):
    page = run_page(tmp_path, followed(tmp_path / "records.jsonl", START | {"reward_held_out": 0.4}, *REWARDED), None)
    assert set(page["charts"]) == {"reward", "kl_to_start"}
    trace = page["charts"]["reward"]["traces"][0]
    assert list(trace["x"]) == [1, 2, 3] and list(trace["y"]) == [0.1, 0.2, 0.3]
    assert page["charts"]["reward"]["layout"]["xaxis"]["title"]["text"] == "step"
    assert "tokens" not in [figure["name"] for figure in page["figures"]]


def test_a_run_that_is_not_drawn_among_others_is_named(tmp_path):
    records = {"drawn": [START, step(1)], "new": [START], "chat": [START, *REWARDED]}
    page = compared({name: followed(tmp_path / name, *written) for name, written in records.items()}, ["one more"])
    assert [trace["name"] for trace in page["charts"]["loss"]["traces"]] == ["drawn"]
    assert page["notes"] == ["new has no loss yet", "chat is trained by rewards and has no loss", "one more"]


@pytest.mark.parametrize("ranks, words", [(1, "peak"), (4, "peak of the first rank")])
def test_a_peak_of_memory_is_the_first_ranks_where_there_are_several(tmp_path, ranks, words):
    page = run_page(tmp_path, followed(tmp_path / "records.jsonl", START | {"plan": {"ranks": ranks}}, SAVE), None)
    assert [figure["note"] for figure in page["figures"] if figure["name"] == "memory"] == [words]


def test_settings_are_those_of_the_user_then_of_recipes_and_rules_without_the_defaults(tmp_path):
    set_by = {"a": "rule", "b": "user", "c": "default", "d": "recipe", "e": "user", "f": "made up"}
    reasons = [{"setting": name, "value": 1, "origin": origin} for name, origin in set_by.items()]
    (tmp_path / "config.json").write_text(json.dumps({"reasons": reasons}), "utf-8")
    page = run_page(tmp_path, followed(tmp_path / "records.jsonl", START), None)
    found = [(each["setting"], each["set_by"]) for each in page["settings"]]
    assert found == [("b", "you"), ("e", "you"), ("d", "recipe"), ("a", "rule")]


def test_runs_are_compared_while_others_read_on(tmp_path):
    run = FollowedRun(tmp_path / "records.jsonl")
    is_read_unlocked = []
    run.curve = lambda *which: is_read_unlocked.append(not run.lock.locked()) or [(1.0, 2.0)]
    assert "loss" in compared({"mine": run}, [])["charts"]
    assert is_read_unlocked == [False]
