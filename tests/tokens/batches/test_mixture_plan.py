from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from headwater.core.errors import ConfigError, StoreError
from headwater.tokens.batches.mixture import MAX_ROWS, MixturePlan, by_temperature, by_unimax, make_plan
from headwater.tokens.batches.settings import MixtureSettings

NAMES = ["a", "b", "c", "d", "e", "f"]
weights_by_source = st.dictionaries(st.sampled_from(NAMES), st.floats(1e-4, 1e3), min_size=1)


def plan_of(weights, rows=1000, num_rows=100, **changes) -> MixturePlan:
    return make_plan(dict.fromkeys(weights, rows), MixtureSettings(weights=weights, **changes), num_rows)


def draws(plan, start, stop):
    source, draw = plan.locate_array(np.arange(start, stop))
    return [(plan.sources[s], d) for s, d in zip(source.tolist(), draw.tolist())]


def test_the_plan_is_this_on_every_machine():
    plan = plan_of({"books": 0.5, "code": 0.3, "web": 0.2}, rows=5, num_rows=20, max_epochs_by_source={"books": 1})
    letters = "".join(f"{source[0]}{draw}" for source, draw in draws(plan, 0, 14))
    assert letters == "w0c0b0c1b1w1b2c2b3c3w2b4w3c4"
    assert plan.digest == "sha256:2989e11b67370cce7adedccecdfdd451d54fb46574a9ebdaf19ff39abf7ba730"


@given(weights_by_source, st.integers(0, MAX_ROWS - 2000))
def test_every_source_is_drawn_without_gap_or_repeat(weights, start):
    plan = plan_of(weights)
    found = draws(plan, start, start + 500)
    before, after = plan.counts(start), plan.counts(start + 500)
    for name in weights:
        assert [draw for source, draw in found if source == name] == list(range(before[name], after[name]))


@given(weights_by_source, st.integers(0, 10**6))
def test_shares_are_right_at_every_moment(weights, num_rows):
    plan = plan_of(weights)
    # the integer weights that the floats became; each level of nesting may be off by less than one row
    whole = plan.stages[0].weights
    for name, count in plan.counts(num_rows).items():
        exact = num_rows * whole[name] / sum(whole.values())
        assert abs(count - exact) < len(whole)
        assert whole[name] / sum(whole.values()) == pytest.approx(weights[name] / sum(weights.values()), abs=1e-5)


@given(weights_by_source, st.integers(0, 10**9))
def test_one_row_is_located_as_in_an_array(weights, row):
    plan = plan_of(weights)
    assert plan.locate(row) == draws(plan, row, row + 1)[0]


@given(weights_by_source, st.integers(1, 40), st.floats(0.1, 4), st.integers(0, 500))
def test_no_source_is_seen_more_often_than_its_cap(weights, rows, max_epochs, num_rows):
    cap = max(int(rows * max_epochs), 1)
    try:
        plan = plan_of(weights, rows=rows, num_rows=num_rows, max_epochs=max_epochs)
    except ConfigError as error:
        assert num_rows > cap * len(weights), error
        return
    assert num_rows <= cap * len(weights)
    counts = Counter(source for source, _ in draws(plan, 0, num_rows))
    assert dict(counts) == {name: count for name, count in plan.counts(num_rows).items() if count}
    assert all(count <= cap for count in counts.values())
    # draws stay without gap or repeat across stages
    for name in weights:
        assert [d for s, d in draws(plan, 0, num_rows) if s == name] == list(range(counts[name]))


def test_a_capped_source_gives_way_at_exactly_its_last_row():
    plan = plan_of({"small": 0.5, "large": 0.5}, rows=100, num_rows=150, max_epochs_by_source={"small": 0.5})
    found = draws(plan, 0, 150)
    assert Counter(source for source, _ in found) == {"small": 50, "large": 100}
    last = max(row for row, (source, _) in enumerate(found) if source == "small")
    assert plan.stages[1].first_row == last + 1
    assert plan.epochs(150) == {"large": 1.0, "small": 0.5}
    assert plan.shares(150) == {"large": 100 / 150, "small": 50 / 150}


def test_caps_that_leave_too_few_rows_are_an_error_with_the_numbers():
    with pytest.raises(ConfigError, match=r"needs 500 rows and the epoch caps allow 250 \(a 100, b 150\)"):
        make_plan({"a": 100, "b": 150}, MixtureSettings(max_epochs=1), 500)


def test_a_cap_of_one_epoch_gives_every_row_once():
    rows = {"a": 7, "b": 31, "c": 262}
    plan = make_plan(rows, MixtureSettings(max_epochs=1), 300)
    assert plan.counts(300) == rows


def test_without_weights_the_shares_are_those_of_the_rows():
    plan = make_plan({"a": 100, "b": 300}, MixtureSettings(), 400)
    assert plan.counts(400) == {"a": 100, "b": 300}


def test_weight_zero_leaves_a_source_out():
    plan = make_plan({"a": 10, "b": 0, "c": 10}, MixtureSettings(weights={"a": 1, "b": 0, "c": 0}), 30)
    assert plan.counts(30) == {"a": 30, "b": 0, "c": 0}
    assert plan.epochs(30) == {"a": 3.0, "b": 0.0, "c": 0.0}


@pytest.mark.parametrize(
    ("rows", "mixture", "message"),
    [
        ({}, {}, "no source to train on"),
        ({"a": 1}, {"weights": {"a": 1, "books": 1}}, "weights names books; sources: a"),
        ({"a": 1}, {"max_epochs_by_source": {"books": 1}}, "max_epochs_by_source names books"),
        ({"a": 1, "b": 1}, {"weights": {"a": 1}}, "has no weight for b"),
        ({"a": 1, "b": 0}, {}, "no training rows come from b"),
        ({"a": 1, "b": 0}, {"weights": {"a": 1, "b": 1}}, "no training rows come from b"),
    ],
)
def test_a_mixture_that_cannot_be_made_is_an_error_that_names_the_source(rows, mixture, message):
    with pytest.raises(ConfigError, match=message):
        make_plan(rows, MixtureSettings(**mixture), 10)


@pytest.mark.parametrize(
    "bad", [{"weights": {"a": -1}}, {"weights": {"a": float("nan")}}, {"weights": {"a": 0}}, {"max_epochs": 0}]
)
def test_impossible_settings_are_refused(bad):
    with pytest.raises(ValidationError):
        MixtureSettings(**bad)


def test_the_same_plan_has_the_same_digest_and_another_has_another():
    plan, again = (plan_of({"a": 0.3, "b": 0.6, "c": 0.1}, rows=20, num_rows=60, max_epochs=1.5) for _ in range(2))
    assert len(plan.stages) > 1
    assert again.digest == plan.digest
    assert plan.with_stage(50, {"a": 1.0}).digest != plan.digest
    assert json.loads(json.dumps(plan.as_json())) == plan.as_json()


def test_a_share_of_the_text_is_read_more_often():
    plan = plan_of({"a": 0.5, "b": 0.5}, rows=100, num_rows=100, share_of_text=0.25)
    assert plan.epochs(100) == {"a": 2.0, "b": 2.0}
    assert plan_of({"a": 0.5, "b": 0.5}, rows=100, num_rows=100).epochs(100) == {"a": 0.5, "b": 0.5}
    assert plan.with_stage(50, {"a": 1.0}).of_rows == {"a": 100, "b": 100}


def test_new_weights_from_a_row_on_change_nothing_before_it():
    plan = plan_of({"a": 0.5, "b": 0.5})
    changed = plan.with_stage(37, {"a": 0.9, "b": 0.1})
    assert draws(changed, 0, 37) == draws(plan, 0, 37)
    assert changed.digest != plan.digest
    for name in "ab":
        assert [d for s, d in draws(changed, 0, 500) if s == name] == list(range(changed.counts(500)[name]))
    assert changed.counts(1037)["a"] - changed.counts(37)["a"] == pytest.approx(900, abs=2)


@pytest.mark.parametrize("row", [-1, MAX_ROWS])
def test_a_row_beyond_the_exact_range_is_an_error(row):
    with pytest.raises(StoreError, match="row numbers"):
        plan_of({"a": 1}).locate(row)


def test_a_stage_changes_the_weights_and_keeps_count():
    stages = [{"start": 0.5, "weights": {"books": 1, "code": 0}}, {"start": 0.75, "weights": {"books": 0, "code": 1}}]
    plan = plan_of({"books": 1, "code": 1}, num_rows=40, stages=stages)
    sources = [source for source, _ in draws(plan, 0, 40)]
    assert Counter(sources[:20]) == {"books": 10, "code": 10}
    assert set(sources[20:30]) == {"books"} and set(sources[30:]) == {"code"}
    for name in ("books", "code"):
        assert [draw for source, draw in draws(plan, 0, 40) if source == name] == list(range(20))


def test_a_source_used_up_before_a_stage_stays_excluded():
    stages = [{"start": 0.5, "weights": {"books": 9, "code": 1}}]
    plan = plan_of({"books": 1, "code": 1}, rows=10, num_rows=40, max_epochs_by_source={"books": 1}, stages=stages)
    assert plan.counts(40) == {"books": 10, "code": 30}


def test_a_stage_whose_sources_are_all_used_up_is_refused():
    with pytest.raises(ConfigError, match=r"epoch caps allow 20 \(books 10, code 10\)"):
        only_books = [{"start": 0.5, "weights": {"books": 1, "code": 0}}]
        plan_of({"books": 1, "code": 1}, rows=10, num_rows=40, max_epochs_by_source={"books": 1}, stages=only_books)


def test_stages_that_run_backwards_are_refused():
    with pytest.raises(ValidationError, match="one after another"):
        MixtureSettings(stages=[{"start": 0.5, "weights": {"a": 1}}, {"start": 0.4, "weights": {"a": 1}}])


def test_unimax_is_uniform_where_text_is_enough_and_gives_what_a_source_lacks_to_the_others():
    settings = MixtureSettings(rule="unimax", max_epochs=2)
    assert make_plan({"a": 500, "b": 500, "c": 500}, settings, 300).counts(300) == {"a": 100, "b": 100, "c": 100}
    own_cap = MixtureSettings(rule="unimax", max_epochs=2, max_epochs_by_source={"a": 1})
    assert make_plan({"a": 50, "b": 500}, own_cap, 300).counts(300) == pytest.approx({"a": 50, "b": 250}, abs=2)
    # a gives 2 × 20, the 260 left are halved between b (at most 2 × 50) and c
    counts = make_plan({"a": 20, "b": 50, "c": 500}, settings, 300).counts(300)
    assert counts == pytest.approx({"a": 40, "b": 100, "c": 160}, abs=2)


@given(st.dictionaries(st.sampled_from(NAMES), st.integers(1, 500), min_size=1), st.floats(0.5, 8), st.floats(0.1, 1))
def test_unimax_keeps_to_its_caps_and_gives_no_source_less_than_a_capped_one(rows, epochs, part):
    num_rows = int(sum(rows.values()) * epochs * part)
    weights = by_unimax(rows, num_rows, dict.fromkeys(rows, epochs))
    given_rows = {name: weight * num_rows for name, weight in weights.items()}
    assert sum(given_rows.values()) == pytest.approx(num_rows)
    uncapped = [count for name, count in given_rows.items() if count < rows[name] * epochs * (1 - 1e-9)]
    assert all(count <= rows[name] * epochs * (1 + 1e-9) + 1e-9 for name, count in given_rows.items())
    assert not uncapped or (min(uncapped) == pytest.approx(max(given_rows.values())))


def test_unimax_says_how_much_text_is_missing():
    with pytest.raises(ConfigError, match="needs 300 rows, and 100 rows, as often as max_epochs allows, are 200"):
        make_plan({"a": 50, "b": 50}, MixtureSettings(rule="unimax", max_epochs=2), 300)


def test_a_temperature_lies_between_sizes_and_equal_parts():
    rows = {"large": 900, "small": 100}
    assert by_temperature(rows, 1) == pytest.approx({"large": 0.9, "small": 0.1})
    assert by_temperature(rows, 2) == pytest.approx({"large": 0.75, "small": 0.25})  # roots 30 and 10
    assert by_temperature(rows, 1e9)["small"] == pytest.approx(0.5)
    settings = MixtureSettings(rule="temperature", temperature=2)
    assert make_plan(rows, settings, 400).counts(400) == pytest.approx({"large": 300, "small": 100}, abs=1)
