"""A reader that follows a run's records comes to what `read_records` says, however the file grew."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_run import BATCH_TOKENS, START, add, followed, lines, resume, step, steps

from headwater.core.records import read_records
from headwater.page.charts.of_run import incidents, tokens_per_step
from headwater.page.serve.following import FollowedRun, FollowedRuns


def troubled_run(seed: int) -> list[dict]:
    """Return the records of a run that is killed, resumed and rolled back at chance moments."""
    chance, at, attempt = random.Random(seed), 0, 1
    records = [START | {"rows_consumed": 0}]
    for _ in range(chance.randint(5, 120)):
        at += 1
        records.append(step(at, attempt, loss=chance.choice([1 / at + attempt, chance.random() * 9])))
        if chance.random() < 0.2:
            kind = chance.choice(["validation", "samples", "checkpoint"])
            records.append({"event": kind, "attempt": attempt, "step": at, "text": "a\u2028<b>é"})
        if chance.random() < 0.08:
            at, attempt = chance.randint(0, at), attempt + 1
            records.append(
                {"event": chance.choice(["resume", "start"]), "attempt": attempt, "step": at, "rows_consumed": at}
            )
        elif chance.random() < 0.04:
            at = chance.randint(0, at)
            records.append({"event": "rollback", "attempt": attempt, "step": at, "rows_consumed": 999, "first_row": at})
        elif chance.random() < 0.05 and attempt > 1:  # an owner that was replaced and doesn't know it yet
            records.append(step(at + 1, attempt - 1))
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
    data, run = lines(*troubled_run(seed)), FollowedRun(path)
    for size in [*pieces, len(data)]:
        with open(path, "ab") as file:
            file.write(data[:size])
        data = data[size:]
        run.poll()
        require_equal(run)


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "records.jsonl"


def replaced(path: Path, data: bytes) -> None:
    path.rename(path.with_suffix(".old"))
    path.write_bytes(data)


def shortened(path: Path, data: bytes) -> None:
    path.write_bytes(data)


@pytest.mark.parametrize("change", [replaced, shortened])
@pytest.mark.parametrize("num_steps", [2, 5, 9])
def test_a_file_that_is_another_is_read_from_its_beginning(path, change, num_steps):
    run = followed(path, *steps(1, 5))
    change(path, lines(*(step(number, loss=7.0 + number) for number in range(1, num_steps + 1))))
    run.poll()
    require_equal(run)


def test_a_folder_may_vanish_and_come_back(tmp_path):
    path = tmp_path / "mine" / "records.jsonl"
    run = FollowedRun(path)
    run.poll()
    assert run.num_steps == 0
    add(path, step(1))
    run.poll()
    assert run.num_steps == 1
    path.unlink()
    run.poll()
    assert run.num_steps == 0
    add(path, *steps(1, 2))
    run.poll()
    assert run.num_steps == 2


@pytest.mark.parametrize(
    "line",
    [b"{", b"[1]", b"null", b'{"event": 3, "step": 1}', b'{"event": "step"}', b'{"event": "step", "step": "x"}',
     b'{"event": "step", "step": 1e300}', b'{"event": "resume", "step": -4}', b"\xff\xfe", b"[" * 100_000,
     b'{"event": "rollback", "attempt": "x", "step": 9, "rows_consumed": []}',
     b'{"event": "step", "step": 4, "tokens_seen": {}, "loss": "NaN", "lr": 1e400}'],
    ids=lambda line: line[:40].decode("latin-1"),
)  # fmt: skip
def test_an_odd_line_is_no_error_and_hides_no_other(path, line):
    path.write_bytes(lines(step(1)) + line + b"\n" + lines(step(5)))
    assert [x / BATCH_TOKENS for x, _ in followed(path).curve("loss")] == [1, 5]


def test_the_steps_between_two_amounts_of_tokens_come_with_a_neighbour_on_each_side(path):
    run = followed(path, *steps(1, 100))
    places = run.between(BATCH_TOKENS * 20, BATCH_TOKENS * 23)
    assert [x / BATCH_TOKENS for x, _ in run.curve("loss", *places)] == [19, 20, 21, 22, 23, 24]


def test_a_value_that_is_no_number_is_no_point(path):
    run = followed(path, step(1), step(2, loss=None), step(3))
    assert [x / BATCH_TOKENS for x, _ in run.curve("loss")] == [1, 3] and math.isnan(run.columns["loss"][1])


def test_marks_stand_where_the_tokens_were(path):
    events = followed(path, *steps(1, 4), {"event": "checkpoint", "attempt": 1, "step": 4}, resume(4)).by_event()
    marks = incidents(events, tokens_per_step(events), with_saves=True)
    assert [(mark.event, mark.tokens_seen) for mark in marks] == [("checkpoint", 2048), ("resume", 2048)]


def test_runs_that_nobody_asked_for_lately_leave_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("headwater.page.serve.following.MAX_STEPS_IN_MEMORY", 10)
    runs, followed_runs = FollowedRuns(), {}
    for name in ("a", "b", "c"):
        add(tmp_path / name / "records.jsonl", *steps(1, 8))
        followed_runs[name] = runs.of(tmp_path / name)
        followed_runs[name].poll()
    assert runs.of(tmp_path / "c") is followed_runs["c"]
    assert runs.of(tmp_path / "a") is not followed_runs["a"], "read again"
