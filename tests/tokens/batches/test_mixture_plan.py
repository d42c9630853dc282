from __future__ import annotations

import json
from collections import Counter
from itertools import accumulate

import numpy as np
import pytest
from golden_rows import rows
from hypothesis import example, given
from hypothesis import strategies as st

from headwater.core.errors import ConfigError
from headwater.tokens.batches.mixture import MAX_ROWS, MixturePlan, make_plan
from headwater.tokens.batches.settings import MixtureSettings

NAMES = ["a", "b", "c", "d", "e", "f"]
weights_by_source = st.dictionaries(st.sampled_from(NAMES), st.floats(1e-4, 1e3), min_size=1)


def plan_of(weights, rows=1000, num_rows=100, **changes) -> MixturePlan:
    return make_plan(dict.fromkeys(weights, rows), MixtureSettings(weights=weights, **changes), num_rows)


def draws(plan, start, stop):
    source, draw = plan.locate(np.arange(start, stop))
    return [(plan.sources[s], d) for s, d in zip(source.tolist(), draw.tolist())]


def counts_plainly(weights: dict[str, int], num_rows: int) -> dict[str, int]:
    """Return how many of the first rows each source gives: floor(x · C_(j-1) / C_j) go to those before the j-th."""
    counts, sums = {}, list(accumulate(weights.values()))
    for name, (inner, total) in reversed(list(zip(weights, zip([0, *sums], sums)))):
        counts[name] = num_rows - num_rows * inner // total
        num_rows -= counts[name]
    return counts


def drawn_plainly(weighings: dict[int, dict[str, float]], cap: float, num_rows: int):
    """Return the source and draw of each row, one after another; None where the caps allow fewer.

    `weighings` are the weights from a row on. Where a source has given all it may, the others begin anew without it.
    """
    found, drawn, weights, since = [], Counter(), {}, 0
    for row in range(num_rows):
        given_now = weighings[max(first for first in weighings if first <= row)]
        left = {name: weight for name, weight in given_now.items() if weight > 0 and drawn[name] < cap}
        if not left:
            return None
        if row in weighings or left.keys() != weights.keys():
            whole = {name: max(1, round(weight / sum(left.values()) * 2**20)) for name, weight in left.items()}
            weights, since = dict(sorted(whole.items(), key=lambda each: (-each[1], each[0]))), row
        before, after = (counts_plainly(weights, row + more - since) for more in (0, 1))
        (name,) = [name for name in weights if after[name] > before[name]]
        found.append((name, drawn[name]))
        drawn[name] += 1
    return found


@given(
    weights_by_source,
    st.lists(
        st.tuples(st.floats(0.01, 0.99), st.lists(st.sampled_from([0.0, 0.5, 1.0, 8.0]), min_size=6, max_size=6)),
        max_size=2,
    ),
    st.integers(1, 40),
    st.none() | st.floats(0.1, 4),
    st.integers(1, 120),
)
@example({"small": 0.5, "large": 0.5}, [], 100, 1.0, 150)  # gives way at exactly its last row
@example({"a": 1.0, "b": 1.0}, [(0.5, [1.0, 0.0, 0.0, 0.0, 0.0, 0.0])], 10, 1.0, 40)  # a stage whose source is used up
def test_every_row_is_that_of_a_plain_account_one_after_another(weights, stages, rows, max_epochs, num_rows):
    by_start = {start: dict(zip(weights, values)) for start, values in stages if any(values[: len(weights)])}
    stages = sorted(by_start.items())
    tables = [{"start": start, "weights": table} for start, table in stages]
    weighings = {0: weights, **{int(start * num_rows): table for start, table in stages}}
    cap = MAX_ROWS if max_epochs is None else max(int(rows * max_epochs), 1)
    expected = drawn_plainly(weighings, cap, num_rows)
    if expected is None:
        with pytest.raises(ConfigError, match="epoch caps allow"):
            plan_of(weights, rows, num_rows, max_epochs=max_epochs, stages=tables)
        return
    plan = plan_of(weights, rows, num_rows, max_epochs=max_epochs, stages=tables)
    assert draws(plan, 0, num_rows) == expected
    for first in (0, num_rows // 2, num_rows):
        assert plan.counts(first) == {
            name: sum(each == name for each, _ in expected[:first]) for name in sorted(weights)
        }
    counts = plan.counts(num_rows)
    assert plan.epochs(num_rows) == {name: count / rows for name, count in counts.items()}
    assert plan.shares(num_rows) == {name: count / num_rows for name, count in counts.items()}
    assert json.loads(json.dumps(plan.as_json())) == plan.as_json()


def test_the_plan_is_this_on_every_machine():
    plan = plan_of({"books": 0.5, "code": 0.3, "web": 0.2}, rows=5, num_rows=20, max_epochs_by_source={"books": 1})
    letters = "".join(f"{source[0]}{draw}" for source, draw in draws(plan, 0, 14))
    assert letters == "w0c0b0c1b1w1b2c2b3c3w2b4w3c4"
    assert plan.digest == "sha256:2989e11b67370cce7adedccecdfdd451d54fb46574a9ebdaf19ff39abf7ba730"


@pytest.mark.parametrize(
    ("rows", "mixture", "num_rows", "counts"),
    [
        ({"a": 7, "b": 31, "c": 262}, {"max_epochs": 1}, 300, {"a": 7, "b": 31, "c": 262}),
        ({"a": 100, "b": 300}, {}, 400, {"a": 100, "b": 300}),  # without weights the shares are those of the rows
        ({"a": 10, "b": 0, "c": 10}, {"weights": {"a": 1, "b": 0, "c": 0}}, 30, {"a": 30, "b": 0, "c": 0}),
        ({"a": 500, "b": 500, "c": 500}, {"rule": "unimax", "max_epochs": 2}, 300, {"a": 100, "b": 100, "c": 100}),
        (
            {"a": 50, "b": 500},
            {"rule": "unimax", "max_epochs": 2, "max_epochs_by_source": {"a": 1}},
            300,
            {"a": 50, "b": 250},
        ),
        # a gives 2 × 20, the 260 left are halved between b (at most 2 × 50) and c
        ({"a": 20, "b": 50, "c": 500}, {"rule": "unimax", "max_epochs": 2}, 300, {"a": 40, "b": 100, "c": 160}),
        ({"a": 900, "b": 100}, {"rule": "temperature", "temperature": 2}, 400, {"a": 300, "b": 100}),
    ],
)
def test_rules_and_caps_give_these_shares(rows, mixture, num_rows, counts):
    plan = make_plan(rows, MixtureSettings(**mixture), num_rows)
    assert plan.counts(num_rows) == (pytest.approx(counts, abs=2) if "rule" in mixture else counts)


@pytest.mark.parametrize(("rows", "mixture", "message"), rows("a_mixture_that_cannot_be_made_is_an_error_that_names"))
def test_a_mixture_that_cannot_be_made_is_an_error_that_names_the_source_and_the_numbers(rows, mixture, message):
    with pytest.raises(ConfigError, match=message):
        make_plan(rows, MixtureSettings(**mixture), 10)


PARTS = st.lists(st.tuples(st.floats(0.1, 1), st.integers(2000, 10_000)), min_size=1, max_size=3)


@given(PARTS, st.lists(st.tuples(st.floats(0.02, 0.25), st.integers(2000, 10_000)), max_size=2))
def test_weights_are_shares_of_what_is_learned_and_replayed_sources_have_those_they_are_given(own, again):
    num_rows, of_one = 20_000, sum(weight for weight, _ in own)
    weights, replayed = (
        {f"{kind}{n}": part for n, (part, _) in enumerate(parts)} for kind, parts in (("o", own), ("r", again))
    )
    targets = dict(zip([*weights, *replayed], [learned for _, learned in [*own, *again]]))
    plan = make_plan(
        dict.fromkeys(targets, 10_000), MixtureSettings(weights=weights, max_epochs=4), num_rows, targets, replayed
    )
    learned = {name: count * targets[name] for name, count in plan.counts(num_rows).items()}
    left = 1 - sum(replayed.values())
    wanted = replayed | {name: left * weight / of_one for name, weight in weights.items()}
    assert {name: each / sum(learned.values()) for name, each in learned.items()} == pytest.approx(wanted, abs=0.003)


def test_a_share_of_the_text_is_read_more_often():
    plan = plan_of({"a": 0.5, "b": 0.5}, rows=100, num_rows=100, share_of_text=0.25)
    assert plan.epochs(100) == {"a": 2.0, "b": 2.0}
    assert plan_of({"a": 0.5, "b": 0.5}, rows=100, num_rows=100).epochs(100) == {"a": 0.5, "b": 0.5}
    assert plan.with_stage(50, {"a": 1.0}).of_rows == {"a": 100, "b": 100}


def test_new_weights_from_a_row_on_change_nothing_before_it():
    plan = plan_of({"a": 0.5, "b": 0.5})
    changed = plan.with_stage(37, {"a": 0.9, "b": 0.1})
    assert draws(changed, 0, 37) == draws(plan, 0, 37)
    assert changed.begins_as(plan, 37) and not changed.begins_as(plan, 38)
    assert changed.digest != plan.digest == plan_of({"a": 0.5, "b": 0.5}).digest
    for name in "ab":
        assert [d for s, d in draws(changed, 0, 500) if s == name] == list(range(changed.counts(500)[name]))
    assert changed.counts(1037)["a"] - changed.counts(37)["a"] == pytest.approx(900, abs=2)
