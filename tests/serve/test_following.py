"""A reader that follows a run's records comes to what `read_records` says, however the file grew."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.charts.of_run import incidents, tokens_per_step
from headwater.records import read_records
from headwater.serve.following import FollowedRun, FollowedRuns


def written(records: list[dict]) -> bytes:
    return b"".join(json.dumps(record, ensure_ascii=False).encode() + b"\n" for record in records)


def step_of(number: int, attempt: int = 1, loss: float | None = None) -> dict:
    value = 1 / number + attempt if loss is None else loss
    return {"event": "step", "attempt": attempt, "step": number, "tokens_seen": 64 * number, "loss": value, "lr": 0.1}


def troubled_run(seed: int) -> list[dict]:
    """Return the records of a run that is killed, resumed and rolled back at chance moments."""
    chance, step, attempt = random.Random(seed), 0, 1
    records = [{"event": "start", "attempt": 1, "step": 0, "rows_consumed": 0}]
    for _ in range(chance.randint(5, 120)):
        step += 1
        records.append(step_of(step, attempt, chance.choice([None, None, chance.random() * 9])))
        if chance.random() < 0.2:
            kind = chance.choice(["validation", "samples", "checkpoint"])
            records.append({"event": kind, "attempt": attempt, "step": step, "text": "a\u2028<b>é"})
        if chance.random() < 0.08:
            step, attempt = chance.randint(0, step), attempt + 1
            kind = chance.choice(["resume", "start"])
            records.append({"event": kind, "attempt": attempt, "step": step, "rows_consumed": step})
        elif chance.random() < 0.04:
            step = chance.randint(0, step)
            records.append(
                {"event": "rollback", "attempt": attempt, "step": step, "rows_consumed": 999, "first_row": step}
            )
        elif chance.random() < 0.05 and attempt > 1:  # an owner that was replaced and doesn't know it yet
            records.append(step_of(step + 1, attempt - 1))
    return records


def require_equal(run: FollowedRun) -> None:
    whole = run.path.with_name("whole.jsonl")
    whole.write_bytes(run.path.read_bytes().rpartition(b"\n")[0])  # a line counts once it has its end
    steps = read_records(whole, "step")
    assert list(run.columns["step"]) == [record["step"] for record in steps]
    assert run.curve("loss") == [(record["tokens_seen"], record["loss"]) for record in steps]
    others = [record for record in read_records(whole) if record["event"] != "step"]
    assert {event: found for event, found in run.events.items() if found} == {
        event: [record for record in others if record["event"] == event]
        for event in {record["event"] for record in others}
    }


@given(st.integers(0, 10_000), st.lists(st.integers(1, 400), max_size=40))
def test_pieces_of_any_size_come_to_what_counts(tmp_path_factory, seed, pieces):
    path = tmp_path_factory.mktemp("run") / "records.jsonl"
    data, run = written(troubled_run(seed)), FollowedRun(path)
    for size in [*pieces, len(data)]:
        with open(path, "ab") as file:
            file.write(data[:size])
        data = data[size:]
        run.poll()
        require_equal(run)


def test_points_after_a_cursor_are_those_that_were_not_shown(tmp_path):
    path = tmp_path / "records.jsonl"
    path.write_bytes(written([step_of(number) for number in range(1, 6)]))
    run = FollowedRun(path)
    shown = run.poll()
    with open(path, "ab") as file:
        file.write(written([step_of(6), step_of(7)]))
    now = run.poll()
    assert (now.generation, now.num_steps) == (shown.generation, 7)
    assert [x for x, _ in run.curve("loss", shown.num_steps)] == [64 * 6, 64 * 7]


def test_a_resume_that_takes_points_back_changes_the_generation_and_one_that_takes_none_does_not(tmp_path):
    path = tmp_path / "records.jsonl"
    path.write_bytes(written([step_of(number) for number in range(1, 6)]))
    run = FollowedRun(path)
    before = run.poll().generation
    with open(path, "ab") as file:
        file.write(written([{"event": "resume", "attempt": 2, "step": 5}]))
    assert run.poll().generation == before
    with open(path, "ab") as file:
        file.write(written([{"event": "resume", "attempt": 3, "step": 3}]))
    assert run.poll().generation > before


def replaced(path: Path, data: bytes) -> None:
    path.rename(path.with_suffix(".old"))
    path.write_bytes(data)


def shortened(path: Path, data: bytes) -> None:
    path.write_bytes(data)


@pytest.mark.parametrize("change", [replaced, shortened])
@pytest.mark.parametrize("num_steps", [2, 5, 9])
def test_a_file_that_is_another_is_read_from_its_beginning(tmp_path, change, num_steps):
    path = tmp_path / "records.jsonl"
    path.write_bytes(written([step_of(number) for number in range(1, 6)]))
    run = FollowedRun(path)
    before = run.poll().generation
    change(path, written([step_of(number, loss=7.0 + number) for number in range(1, num_steps + 1)]))
    assert run.poll().generation > before
    require_equal(run)


def test_a_folder_may_vanish_and_come_back(tmp_path):
    path = tmp_path / "mine" / "records.jsonl"
    run = FollowedRun(path)
    assert run.poll().num_steps == 0
    path.parent.mkdir()
    path.write_bytes(written([step_of(1)]))
    assert run.poll().num_steps == 1
    path.unlink()
    assert run.poll().num_steps == 0
    path.write_bytes(written([step_of(1), step_of(2)]))
    assert run.poll().num_steps == 2


@pytest.mark.parametrize(
    "line",
    [b"{", b"[1]", b"null", b'{"event": 3, "step": 1}', b'{"event": "step"}', b'{"event": "step", "step": "x"}',
     b'{"event": "step", "step": 1e300}', b'{"event": "resume", "step": -4}', b"\xff\xfe", b"[" * 100_000,
     b'{"event": "rollback", "attempt": "x", "step": 9, "rows_consumed": []}',
     b'{"event": "step", "step": 4, "tokens_seen": {}, "loss": "NaN", "lr": 1e400}'],
    ids=lambda line: line[:40].decode("latin-1"),
)  # fmt: skip
def test_an_odd_line_is_no_error_and_hides_no_other(tmp_path, line):
    path = tmp_path / "records.jsonl"
    path.write_bytes(written([step_of(1)]) + line + b"\n" + written([step_of(5)]))
    run = FollowedRun(path)
    run.poll()
    assert [x for x, _ in run.curve("loss")] == [64, 320]


def test_the_steps_between_two_amounts_of_tokens_come_with_a_neighbour_on_each_side(tmp_path):
    path = tmp_path / "records.jsonl"
    path.write_bytes(written([step_of(number) for number in range(1, 101)]))
    run = FollowedRun(path)
    run.poll()
    assert [x / 64 for x, _ in run.curve("loss", *run.between(64 * 20, 64 * 23))] == [19, 20, 21, 22, 23, 24]


def test_a_value_that_is_no_number_is_no_point(tmp_path):
    path = tmp_path / "records.jsonl"
    path.write_bytes(written([step_of(1), step_of(2) | {"loss": None}, step_of(3)]))
    run = FollowedRun(path)
    run.poll()
    assert [x / 64 for x, _ in run.curve("loss")] == [1, 3] and math.isnan(run.columns["loss"][1])


def test_marks_stand_where_the_tokens_were(tmp_path):
    path = tmp_path / "records.jsonl"
    records = [step_of(number) for number in range(1, 5)]
    records += [{"event": "checkpoint", "attempt": 1, "step": 4}, {"event": "resume", "attempt": 2, "step": 4}]
    path.write_bytes(written(records))
    run = FollowedRun(path)
    run.poll()
    marks = incidents(run.by_event(), tokens_per_step(run.by_event()), with_saves=True)
    assert [(mark.event, mark.tokens_seen) for mark in marks] == [("checkpoint", 256), ("resume", 256)]


def test_runs_that_nobody_asked_for_lately_leave_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("headwater.serve.following.MAX_STEPS_IN_MEMORY", 10)
    runs, followed = FollowedRuns(), {}
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "records.jsonl").write_bytes(written([step_of(number) for number in range(1, 9)]))
        followed[name] = runs.of(tmp_path / name)
        followed[name].poll()
    assert runs.of(tmp_path / "c") is followed["c"]
    assert runs.of(tmp_path / "a") is not followed["a"], "read again"
