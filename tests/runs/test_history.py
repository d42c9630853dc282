"""Records of a run as histories, and the end of them as a line of many runs."""

from __future__ import annotations

import pytest
from fake_run import add, evaluation, json_file, lines, resume, step, steps, troubled_run, validation, write_run
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headwater.core import records
from headwater.core.records import read_attempts, read_records
from headwater.runs.measures import lines_since_base, since_base
from headwater.runs.run_data import History, read_run
from headwater.runs.summary import TAIL_BYTES, NoRunError, RunsFolder


def followed(path, *records: dict) -> History:
    add(path, *records)
    log = History(path)
    log.poll()
    return log


@given(st.integers(0, 10_000))
def test_columns_events_and_attempts_are_those_of_the_lines(tmp_path_factory, seed):
    path = tmp_path_factory.mktemp("run") / "records.jsonl"
    log = followed(path, *troubled_run(seed))
    attempts, counted = read_attempts(path), read_records(path)
    steps = [record for record in counted if record["event"] == "step"]
    assert list(log.columns["step"]) == [record["step"] for record in steps]
    assert log.curve("loss") == [(record["tokens_seen"], record["loss"]) for record in steps]
    others = [record for record in counted if record["event"] != "step"]
    assert {event: found for event, found in log.events.items() if found} == {
        event: [record for record in others if record["event"] == event]
        for event in {record["event"] for record in others}
    }
    for name, attempt in log.attempts.items():
        own = [record for record in attempts if str(record["attempt"]) == name]
        reached = max(record["step"] for record in own)
        assert (attempt.from_step, attempt.to_step, attempt.ended) == (own[0]["step"], reached, own[-1].get("time"))
        assert attempt.num_resumes == sum(record["event"] == "resume" for record in own)


def test_a_source_of_few_scored_tokens_or_none_has_no_change_since_the_base(tmp_path):
    run_dir = write_run(tmp_path, num_steps=8)
    json_file(run_dir / "evaluation.json", evaluation(8) | {"num_targets": {"books": 0, "speeches": 299, "code": 300}})
    shown = {each.source for each in since_base(read_run(run_dir))}
    assert "code" in shown and not shown & {"books", "speeches"}


BITS, RIGHT = st.floats(0.5, 3.0), st.floats(0, 1)


@given(before=st.tuples(BITS, BITS, RIGHT), after=st.tuples(BITS, BITS, RIGHT), is_of_all=st.booleans())
@example(before=(1.495, 1.416, 0.99), after=(1.439, 1.451, 0.48), is_of_all=False)
def test_what_a_run_learned_and_forgot_of_its_base_is_said_as_a_sample_where_it_is_one(
    tmp_path_factory, before, after, is_of_all
):
    def records(step, measured):
        new, old, capitals = measured
        bits = {"all": new, "addl": new, "replay-code": old}
        yield {"event": "validation", "step": step, "bits_per_byte": bits, "is_of_all": is_of_all}
        yield {"event": "probes", "step": step, "probes": {"capitals": {"right": capitals}, "words": {"right": 0.5}}}

    run_dir = tmp_path_factory.mktemp("run")
    add(run_dir / "records.jsonl", *records(0, before), *records(9, after))
    new, kept = lines_since_base(read_run(run_dir))
    scored = "all held-out text" if is_of_all else "a sample of held-out text"
    assert all(f"bits per byte of {scored}: " in line for _, line in (new, kept))
    assert f": addl {before[0]:.3f} → {after[0]:.3f}" in new[1]
    assert f"old text replay-code {before[1]:.3f} → {after[1]:.3f}" in kept[1]
    assert kept[1].endswith(f"; right capitals {before[2]:.0%} → {after[2]:.0%}")
    assert kept[0] == ("forgotten" if after[1] > before[1] or after[2] < before[2] else "kept")


def summary(folder):
    (found,) = RunsFolder(folder).summaries()
    return found.bits_per_byte, found.step, found.loss, found.state


def test_of_long_records_the_end_is_parsed_and_what_comes_seldom_and_of_unchanged_ones_nothing(tmp_path, monkeypatch):
    path, read = tmp_path / "mine/records.jsonl", []
    add(path, validation(1, 1.5), *steps(2, 6000))
    monkeypatch.setattr("headwater.runs.summary.parsed", lambda line: read.append(line) or records.parsed(line))
    runs = RunsFolder(tmp_path)
    for _ in range(2):
        (found,) = runs.summaries()
        assert (found.bits_per_byte, found.step) == (1.5, 6000)
        assert path.stat().st_size > 4 * TAIL_BYTES > 2 * sum(map(len, read))
    assert len(read) == len(set(read)), "they were read again, unchanged"
    with open(path, "a", encoding="utf-8") as file:
        file.write('{"event": "st')  # a line that is being written
    assert summary(tmp_path)[:2] == (1.5, 6000)
    path.write_bytes(path.read_bytes().removesuffix(b'{"event": "st'))
    add(path, resume(3))  # what it leaves is far from the last lines
    assert summary(tmp_path) == (1.5, 3, None, "killed")


@given(st.integers(TAIL_BYTES - 5000, TAIL_BYTES + 1000))
@settings(max_examples=20)
def test_a_validation_is_found_wherever_the_last_lines_begin(tmp_path_factory, num_bytes):
    folder = tmp_path_factory.mktemp("runs")
    after = [step(2, note="x" * (num_bytes // 2)), step(3, note="x" * (num_bytes // 2))]
    add(folder / "mine/records.jsonl", step(1), validation(1, 1.5) | {"note": "y" * 4000}, *after)
    assert summary(folder)[:2] == (1.5, 3)


def test_what_a_resume_takes_back_and_a_file_that_is_replaced_are_read_again(tmp_path):
    path = tmp_path / "mine/records.jsonl"
    add(path, step(1, loss=2.0), validation(1, 1.5), step(2, loss=2.0), step(3, loss=9.0), validation(3, 1.2))
    add(path, resume(2))
    assert summary(tmp_path) == (1.5, 2, 2.0, "killed")
    path.write_bytes(lines(step(1, loss=4.0)))
    assert summary(tmp_path) == (None, 1, 4.0, "killed")
    path.write_bytes(b"")
    assert summary(tmp_path) == (None, None, None, "not started")


def test_a_run_that_was_renamed_is_found_by_its_new_name_alone(tmp_path):
    add(tmp_path / "mine/records.jsonl", step(1))
    runs = RunsFolder(tmp_path)
    assert runs.run_dir("mine") == tmp_path / "mine"
    (tmp_path / "mine").rename(tmp_path / "other")
    assert runs.run_dir("other") == tmp_path / "other"
    with pytest.raises(NoRunError, match="there is no run 'mine'"):
        runs.run_dir("mine")
