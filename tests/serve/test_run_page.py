"""What the page says of a run, as plain values."""

from __future__ import annotations

import json

from headwater.serve.following import FollowedRun
from headwater.serve.run_page import compared, run_page


def test_a_run_that_rewards_train_shows_them_over_its_steps(tmp_path):
    records = [{"event": "start", "attempt": 1, "step": 0, "reward_held_out": 0.4, "time": 1.0}]
    records += [
        {"event": "step", "attempt": 1, "step": step, "reward": step / 10, "kl_to_start": 0.1 * step, "time": 2.0}
        for step in (1, 2, 3)
    ]
    (tmp_path / "records.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    run = FollowedRun(tmp_path / "records.jsonl")
    run.poll()
    page = run_page(tmp_path, run, None)
    assert set(page["charts"]) == {"reward", "kl_to_start"}
    trace = page["charts"]["reward"]["traces"][0]
    assert list(trace["x"]) == [1, 2, 3] and list(trace["y"]) == [0.1, 0.2, 0.3]
    assert page["charts"]["reward"]["layout"]["xaxis"]["title"]["text"] == "step"
    assert "tokens" not in [figure["name"] for figure in page["figures"]]


def test_runs_are_compared_while_others_read_on(tmp_path):
    run = FollowedRun(tmp_path / "records.jsonl")
    is_read_unlocked = []
    run.curve = lambda *which: is_read_unlocked.append(not run.lock.locked()) or [(1.0, 2.0)]
    assert "loss" in compared({"mine": run})
    assert is_read_unlocked == [False]
