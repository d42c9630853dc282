"""A resumed run's records read like those of a run that never stopped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.core.owners import guarded
from headwater.core.records import RunRecords, read_all, read_attempts, read_records


def write(path: Path, *attempts: list[tuple[str, int]]) -> None:
    """Write events of several attempts; a value tells who wrote each."""
    for events in attempts:
        records = RunRecords(path, clock=lambda: 1.23456)
        for event, step in events:
            records.append(event, step, value=f"{event} {step} of attempt {records.attempt}")
        records.close()


def read(path: Path, event: str) -> list[str]:
    return [record["value"] for record in read_records(path, event)]


def test_a_record_has_event_attempt_step_and_time(tmp_path):
    write(tmp_path / "r.jsonl", [("start", 0)])
    assert json.loads((tmp_path / "r.jsonl").read_text()) == {
        "event": "start",
        "attempt": 1,
        "step": 0,
        "value": "start 0 of attempt 1",
        "time": 1.235,
    }


def test_each_process_is_an_attempt(tmp_path):
    write(tmp_path / "r.jsonl", [("start", 0)], [("resume", 0), ("step", 1)], [("resume", 1)])
    assert [record["attempt"] for record in read_all(tmp_path / "r.jsonl")] == [1, 2, 2, 3]


def test_a_resume_hides_the_steps_after_its_checkpoint(tmp_path):
    write(
        tmp_path / "r.jsonl",
        [("start", 0), ("step", 1), ("step", 2), ("checkpoint", 2), ("step", 3), ("step", 4)],
        [("resume", 2), ("step", 3)],
    )
    assert read(tmp_path / "r.jsonl", "step") == ["step 1 of attempt 1", "step 2 of attempt 1", "step 3 of attempt 2"]
    assert read(tmp_path / "r.jsonl", "checkpoint") == ["checkpoint 2 of attempt 1"]


def test_what_was_measured_after_the_checkpoint_is_not_there_twice(tmp_path):
    measured = [("validation", 2), ("probes", 2), ("samples", 2)]
    write(
        tmp_path / "r.jsonl",
        [("start", 0), ("validation", 1), ("step", 2), ("checkpoint", 2), *measured, ("step", 3)],
        [("resume", 2), ("start", 2), *measured, ("step", 3)],
    )
    path = tmp_path / "r.jsonl"
    assert read(path, "validation") == ["validation 1 of attempt 1", "validation 2 of attempt 2"]
    assert read(path, "probes") == ["probes 2 of attempt 2"]
    assert read(path, "samples") == ["samples 2 of attempt 2"]


def test_a_resume_from_an_earlier_step_hides_what_a_later_resume_kept(tmp_path):
    """The newest checkpoint was damaged, so the third attempt starts before the second one."""
    write(
        tmp_path / "r.jsonl",
        [("start", 0), ("step", 1), ("step", 2), ("step", 3)],
        [("resume", 2), ("step", 3), ("step", 4)],
        [("resume", 1), ("step", 2)],
    )
    assert read(tmp_path / "r.jsonl", "step") == ["step 1 of attempt 1", "step 2 of attempt 3"]
    assert read(tmp_path / "r.jsonl", "resume") == ["resume 1 of attempt 3"]


def test_an_attempt_that_begins_at_step_0_hides_one_killed_before_its_first_checkpoint(tmp_path):
    write(
        tmp_path / "r.jsonl",
        [("start", 0), ("validation", 0), ("step", 1), ("step", 2), ("validation", 2)],
        [("start", 0), ("validation", 0), ("step", 1)],
    )
    assert read(tmp_path / "r.jsonl", "step") == ["step 1 of attempt 2"]
    assert read(tmp_path / "r.jsonl", "validation") == ["validation 0 of attempt 2"]


def test_torn_and_foreign_lines_are_left_out(tmp_path):
    path = tmp_path / "r.jsonl"
    write(path, [("start", 0)])
    path.write_bytes(path.read_bytes() + b'\xff\xfe\n[1]\n\n{"event":"step","attempt":1,"st')
    assert read(path, "start") == ["start 0 of attempt 1"]
    assert len(read_all(path)) == 1


def test_a_file_that_is_not_there_has_no_records(tmp_path):
    assert read_records(tmp_path / "r.jsonl") == []


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_any_text_comes_back(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("records") / "r.jsonl"
    records = RunRecords(path, clock=lambda: 0.0)
    records.append("samples", 1, text=text)
    records.close()
    assert [record["text"] for record in read_records(path, "samples")] == [text]


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x1c", "\v", "\f", "\r", "\r\n"])
def test_a_sample_with_an_odd_line_separator_is_one_record(tmp_path, separator):
    records = RunRecords(tmp_path / "r.jsonl", clock=lambda: 0.0)
    records.append("samples", 1, text=f"a{separator}b")
    records.close()
    assert [record["text"] for record in read_records(tmp_path / "r.jsonl")] == [f"a{separator}b"]


@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=5),
    st.integers(1, 5),
    st.randoms(use_true_random=False),
)
def test_records_do_not_depend_on_where_a_run_was_killed(tmp_path_factory, kills, save_every, random):
    """Against a model of training: saves come before measuring, a kill may fall between any two lines."""
    path = tmp_path_factory.mktemp("records") / "r.jsonl"
    last, saved = 12, None
    for lines_until_killed in [*kills, 10**6]:
        events = [("resume", saved)] if saved is not None else []
        events += [("start", saved or 0)] + ([("validation", saved)] if saved and saved % 2 == 0 else [])
        for step in range((saved or 0) + 1, last + 1):
            events += [("step", step)] + [("checkpoint", step)] * (step % save_every == 0)
            events += [("validation", step)] * (step % 2 == 0)
        events = events[:lines_until_killed]
        write(path, events)
        saved = max([saved or 0, *(step for event, step in events if event == "checkpoint")]) or None
    for event in ("step", "validation"):
        steps = [record["step"] for record in read_records(path, event)]
        assert steps == [step for step in range(1, last + 1) if event == "step" or step % 2 == 0]


def test_numbers_that_json_does_not_have_are_written_as_null(tmp_path):
    records = RunRecords(tmp_path / "records.jsonl", clock=lambda: 0.0)
    returned = records.append("step", 1, loss=float("nan"), grad_norm=float("inf"), taken=False)
    records.close()

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    line = (tmp_path / "records.jsonl").read_text()
    assert json.loads(line, parse_constant=refuse)["loss"] is None
    assert returned["grad_norm"] == float("inf")


# ---- events between steps: rows advance while no step is completed


def records_of(path: Path, *events: tuple[str, int, dict]) -> list[tuple[str, int]]:
    records = RunRecords(path, clock=lambda: 0.0)
    for event, step, fields in events:
        records.append(event, step, **fields)
    records.close()
    return [(record["event"], record["step"]) for record in read_records(path)]


def rows(count: int) -> dict:
    return {"rows_consumed": count}


def test_a_resume_keeps_of_its_own_step_what_its_checkpoint_has_seen(tmp_path):
    """The save came by a signal, after one of two steps that weren't taken."""
    first = [("start", 0, rows(0)), ("step", 1, {}), ("skipped", 1, rows(16)), ("checkpoint", 1, {})]
    lost = [("skipped", 1, rows(24)), ("step", 2, {})]
    kept = records_of(tmp_path / "r", *first, *lost, ("resume", 1, rows(16)), ("start", 1, rows(16)))
    assert kept == [("start", 0), ("step", 1), ("skipped", 1), ("checkpoint", 1), ("resume", 1), ("start", 1)]


def test_a_rollback_hides_what_came_after_the_step_it_leads_to_and_keeps_what_was_measured_there(tmp_path):
    before = [("start", 0, rows(0)), ("step", 1, {}), ("checkpoint", 1, {}), ("validation", 1, {})]
    after = [("skipped", 1, rows(16)), ("step", 2, {}), ("validation", 2, {}), ("skipped", 2, rows(32))]
    back = ("rollback", 1, {"first_row": 8} | rows(32))
    kept = records_of(tmp_path / "r", *before, *after, back, ("step", 2, {}))
    assert kept == [(event, step) for event, step, _ in [*before, back]] + [("step", 2)]


def test_a_resume_at_the_step_gone_back_to_hides_a_rollback_that_it_does_again(tmp_path):
    before = [("start", 0, rows(0)), ("step", 1, {}), ("checkpoint", 1, {})]
    back = ("rollback", 1, {"first_row": 8} | rows(32))
    resume = ("resume", 1, rows(8))
    kept = records_of(tmp_path / "r", *before, back, resume, back)
    assert [event for event, _ in kept] == ["start", "step", "checkpoint", "resume", "rollback"]


def test_a_resume_that_knows_no_rows_hides_what_was_skipped_at_its_step(tmp_path):
    kept = records_of(tmp_path / "r", ("step", 1, {}), ("skipped", 1, rows(16)), ("resume", 1, {}))
    assert kept == [("step", 1), ("resume", 1)]


def test_steps_ask_for_the_owner_every_few_seconds_and_other_events_always(tmp_path):
    calls, now = [], [100.0]
    records = RunRecords(tmp_path / "records.jsonl", lambda: now[0])
    with guarded(tmp_path, lambda: calls.append(now[0])):
        for second in range(12):
            now[0] = 100.0 + second
            records.append("step", second)
        assert calls == [100.0, 105.0, 110.0]
        records.append("checkpoint", 11)
        now[0] = 50.0  # a clock that was set back
        records.append("step", 12)
    assert calls == [100.0, 105.0, 110.0, 111.0, 50.0]
    records.close()


def test_lines_that_a_replaced_owner_still_writes_do_not_count(tmp_path):
    stale = RunRecords(tmp_path / "records.jsonl", lambda: 0.0)
    stale.append("start", 0)
    stale.append("step", 1)
    owner = RunRecords(tmp_path / "records.jsonl", lambda: 0.0)
    owner.append("start", 0)
    owner.append("step", 1)
    stale.append("step", 2)
    owner.append("step", 2)
    stale.close()
    owner.close()
    assert [(record["attempt"], record["step"]) for record in read_records(tmp_path / "records.jsonl", "step")] == [
        (2, 1),
        (2, 2),
    ]
    assert [(record["attempt"], record["step"]) for record in read_attempts(tmp_path / "records.jsonl")] == [
        *((1, 0), (1, 1), (2, 0), (2, 1), (2, 2)),
    ]
