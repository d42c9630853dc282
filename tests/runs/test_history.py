"""What is kept of a run's records for its page: the same figures as from all of them."""

from __future__ import annotations

import math

import pytest
from fake_run import STEP_TOKENS, add, evaluation, json_file, lines, step, steps, troubled_run, write_run
from hypothesis import example, given
from hypothesis import strategies as st

from headwater.core.records import read_attempts, read_records, survives
from headwater.runs.measures import lines_since_base, since_base
from headwater.runs.run_data import TIMED, History, read_run


def followed(path, *records: dict) -> History:
    add(path, *records)
    log = History(path)
    log.poll()
    return log


def seconds_of(record: dict) -> float:
    return record.get(TIMED.get(record["event"], ("", ""))[1], 0.0)


def lost_by_hand(attempts: list[dict]) -> float:
    """Return the time of what later processes did again, by a walk over all lines."""
    lost, kept = 0.0, []
    for record in attempts:
        if record["event"] == "rollback":  # saved with the next step, or lost with it
            kept = [old if survives(old, record) else old | {"step": record["step"] + 1} for old in kept]
        if record["event"] in ("start", "resume"):
            lost += sum(seconds_of(old) for old in kept if not survives(old, record))
            kept = [old for old in kept if survives(old, record)]
        kept.append(record)
    return lost


@given(st.integers(0, 10_000))
def test_columns_events_attempts_and_time_lost_are_those_of_the_lines(tmp_path_factory, seed):
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
    assert log.seconds_lost == pytest.approx(lost_by_hand(attempts))
    for name, attempt in log.attempts.items():
        own = [record for record in attempts if str(record["attempt"]) == name]
        reached = max(record["step"] for record in own)
        assert (attempt.from_step, attempt.to_step, attempt.ended) == (own[0]["step"], reached, own[-1].get("time"))
        assert attempt.num_resumes == sum(record["event"] == "resume" for record in own)


@pytest.mark.parametrize(("resumed_at", "seconds"), [(3, 40.0), (2, 160.0), (1, 220.0)])
def test_what_a_rollback_undid_is_lost_only_without_a_save_after_it(tmp_path, resumed_at, seconds):
    taken = [{"event": "step", "step": step, "seconds": 60.0} for step in (1, 2, 3)]
    more = [{"event": "step", "step": 4, "seconds": 40.0}]
    first = [{"event": "start", "step": 0}, *taken, {"event": "rollback", "step": 2, "first_row": 0}, *taken[2:], *more]
    again = [{"event": "resume", "step": resumed_at}, {"event": "start", "step": resumed_at}]
    records = [one | {"attempt": n} for n, of in enumerate([first, again], 1) for one in of]
    assert followed(tmp_path / "records.jsonl", *records).seconds_lost == seconds


def test_the_steps_between_two_amounts_of_tokens_come_with_a_neighbour_on_each_side(tmp_path):
    log = followed(tmp_path / "records.jsonl", *steps(1, 100))
    places = log.between(STEP_TOKENS * 20, STEP_TOKENS * 23)
    assert [x / STEP_TOKENS for x, _ in log.curve("loss", *places)] == [19, 20, 21, 22, 23, 24]


def test_a_value_that_is_no_number_is_no_point(tmp_path):
    path = tmp_path / "records.jsonl"
    path.write_bytes(b'{"event": "step", "step": 4, "tokens_seen": {}, "loss": "NaN", "lr": 1e400}\n' + lines(step(5)))
    log = followed(path, step(6, loss=None), step(7))
    assert [x / STEP_TOKENS for x, _ in log.curve("loss")] == [5, 7] and math.isnan(log.columns["loss"][2])


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
