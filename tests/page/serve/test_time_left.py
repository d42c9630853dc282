"""The time that is left counts what comes between steps: on a made-up run whose every part is known."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from headwater.cli.progress import TrainingDisplay
from headwater.core.numbers import duration
from headwater.runs.summary import RunsFolder, TimeLeft
from headwater.train.checkpoint.lock import owned
from headwater.train.settings import TrainSettings

NUM_STEPS, VALIDATE_EVERY, STEP, VALIDATION, SAVE = 1000, 100, 0.1, 30.0, 5.0
MEASURED = {"tokens_seen": 1, "loss": 5.0, "lr": 0.01, "grad_norm": 1.5, "tokens_per_second": 1e4, "mfu": 0.4}


def records(last: int, first: int = 1, attempt: int = 1, held_up: dict[int, float] | None = None) -> list[dict]:
    """Return the records of steps, with slow validations and, in the middle between them, saves."""
    found, now = [], 1e9
    for step in range(first, last + 1):
        seconds = STEP + (held_up or {}).get(step, 0.0)
        now += seconds
        of_step = MEASURED | {"data_wait_fraction": 0.0, "seconds": seconds, "time": now}
        found.append({"event": "step", "attempt": attempt, "step": step} | of_step)
        pauses = {0: ("validation", VALIDATION), VALIDATE_EVERY // 2: ("checkpoint", SAVE)}
        if pause := pauses.get(step % VALIDATE_EVERY):
            now += pause[1]
            found.append(
                {"event": pause[0], "attempt": attempt, "step": step, "bits_per_byte": {"all": 1.5}, "time": now}
            )
    return found


def seconds_after(step: int) -> float:
    """Return what really passes from the end of a step to that of the run."""
    return records(NUM_STEPS)[-1]["time"] - records(step)[-1]["time"]


def estimate(found: list[dict]) -> float | None:
    left = TimeLeft()
    steps = [record for record in found if record["event"] == "step"]
    for record in steps:
        left.add(record)
    return left.after(steps[-1]["step"] if steps else 0, NUM_STEPS)


@pytest.mark.parametrize("done", [201, 501, 901])
def test_slow_validations_and_saves_count(done):
    expected = seconds_after(done)
    assert estimate(records(done)) == pytest.approx(expected, rel=0.02)
    assert expected > 3 * STEP * (NUM_STEPS - done), "validations are most of it"


def test_nothing_is_known_before_a_step_and_nothing_is_left_at_the_end():
    assert estimate([]) is None
    assert estimate(records(NUM_STEPS)) == 0


def test_the_terminal_and_the_table_of_runs_say_the_same(tmp_path):
    portions = {"batch_tokens": 512, "microbatch_tokens": 512}
    train = TrainSettings(num_steps=NUM_STEPS, save_every=100, validate_every=VALIDATE_EVERY, **portions)
    found = records(501)
    out = io.StringIO()
    display = TrainingDisplay(train, 1, out)
    for record in found:
        display(record)
    expected = estimate(found)
    tokens_left = (NUM_STEPS - 501) * MEASURED["tokens_per_second"] * STEP
    last = out.getvalue().splitlines()[-1]
    paused = 1 - STEP * (NUM_STEPS - 501) / expected
    assert f"  10.0k tokens/s  40% of peak  pauses {paused:.0%}  " in last
    assert last.endswith(f"  {duration(expected)} left")
    write_run(tmp_path / "mine", found)
    with owned(tmp_path / "mine"):
        (summary,) = RunsFolder(tmp_path).summaries()
    assert summary.seconds_left == pytest.approx(expected)
    assert summary.tokens_per_second == pytest.approx(tokens_left / expected)


def write_run(run_dir: Path, found: list[dict]) -> None:
    run_dir.mkdir()
    (run_dir / "config.json").write_text(json.dumps({"settings": {"train": {"num_steps": NUM_STEPS}}}))
    (run_dir / "records.jsonl").write_text("".join(json.dumps(record) + "\n" for record in found))
