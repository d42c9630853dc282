"""The ladder of a run from a base: short runs of it, and both losses that they forecast."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
from small_run import call, require_clear_error, write_texts

from headwater.core.intervals import Z_P90
from headwater.core.records import read_records
from headwater.plan.loss_outlook import new_text_after, old_text_after

ON = """\
name = "on"
[init]
from = "runs/mine"
[replay]
run = "runs/mine"
share = 0.25
[corpus.sources.other]
paths = ["others"]
[train]
num_steps = 64
save_every = 64
num_probes = 0
[machine]
dtype = "float32"
compile = "off"
num_threads = 1
"""


@pytest.fixture(scope="module")
def laddered(finished_run, tmp_path_factory):
    """A folder with a run from a base, its short runs done, and what the command said."""
    folder = Path(shutil.copytree(finished_run, tmp_path_factory.mktemp("from-base") / "here"))
    write_texts(folder / "others", num_files=40)
    (folder / "on.toml").write_text(ON)
    return folder, call("ladder", "on.toml", "--json", cwd=folder)


def test_the_short_runs_have_the_base_s_shape_and_begin_at_its_weights(laddered):
    folder, said = laddered
    assert said.status == 0, said
    assert [rung["num_steps"] for rung in said.json["rungs"]] == [4, 8, 16]
    assert len({(rung["num_layers"], rung["d_model"]) for rung in said.json["rungs"]}) == 1
    firsts = [
        read_records(folder / "runs/on/ladder" / rung["name"] / "records.jsonl", "validation")[0]
        for rung in said.json["rungs"]
    ]
    assert len({json.dumps(first["bits_per_byte"]) for first in firsts}) == 1
    assert said.json["backtest"] == [] and said.json["forecast"] is None


def test_the_plan_shows_both_losses_with_their_sources(laddered):
    folder, said = laddered
    losses = call("plan", "on.toml", "--json", cwd=folder).json["from_base"]
    assert losses == said.json["from_base"]
    for name in ("new", "old"):
        assert 0 < losses[name]["p10"] < losses[name]["p50"] < losses[name]["p90"]
        assert "short runs of 2.05k, 4.10k, 8.19k tokens" in losses["how"][name]
    card = call("plan", "on.toml", cwd=folder).out
    assert "new text" in card and "old text" in card and "the base has" in card
    assert "break-even" in card and "not known without runs from scratch" in " ".join(card.split())


def test_a_table_of_runs_from_scratch_says_how_many_tokens_would_be_as_good(laddered, tmp_path):
    folder, _ = laddered
    new = call("plan", "on.toml", "--json", cwd=folder).json["from_base"]["new"]["p50"]
    rows = [(params, tokens) for params in (5e3, 1e4, 2e4, 4e4) for tokens in (5e3, 1e4, 2e4, 4e4, 8e4)]
    losses = [new + 20 * (params**-0.5) + 300 * (tokens**-0.8) - 0.2 for params, tokens in rows]
    table = tmp_path / "scratch.csv"
    lines = [f"{params:.0f},{tokens:.0f},{loss:.5f}" for (params, tokens), loss in zip(rows, losses, strict=True)]
    table.write_text("\n".join(["params,tokens,loss", *lines]))
    with_table = ("plan", "on.toml", "--runs", str(table), "--json", "--loss-unit")
    said = call(*with_table, "bits_per_byte", cwd=folder)
    assert said.status == 0, said
    found = said.json["from_base"]
    even = found["break_even"]
    assert even is not None, found["how"]
    assert even["p10"] <= even["p50"] <= even["p90"]
    assert "law of 20 runs from scratch" in found["how"]["break_even"]
    nats = call(*with_table, "nats_per_token", cwd=folder)
    assert "are nats per token" in nats.json["from_base"]["how"]["break_even"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(("--share", "0.5"), "remove it"), (("train.num_steps=55", "name=short"), "raise train.num_steps to 64 or more")],
)
def test_what_such_a_ladder_can_t_be_is_refused(laddered, arguments, says):
    require_clear_error(call("ladder", "on.toml", *arguments, cwd=laddered[0]), says)


SHORT = [1e6, 2e6, 4e6]


def test_new_text_falls_on_along_the_line_of_the_last_two_runs():
    found = new_text_after(16e6, SHORT, [9.0, 2.0, 1.9])
    assert found.median == pytest.approx(1.7)
    assert found.log_deviation == pytest.approx(math.hypot(0.02, 0.15 * math.log(1.7 / 1.9)))


def test_old_text_follows_the_power_law_of_all_three_upwards_and_downwards():
    for exponent in (0.1, -0.02):
        bits = [1.5 * (tokens / 1e6) ** exponent for tokens in SHORT]
        assert old_text_after(16e6, SHORT, bits).median == pytest.approx(1.5 * 16**exponent)


@pytest.mark.parametrize(
    ("law", "bits", "actual"),
    [  # articles and code with seed 1: docs/log.md, 2026-11-29
        (new_text_after, [2.4299, 2.2168, 1.9961], 1.5307),
        (new_text_after, [3.3533, 2.8033, 2.5703], 2.1336),
        (old_text_after, [1.9211, 2.0207, 2.1450], 2.4383),
        (old_text_after, [2.0850, 2.2019, 2.3771], 2.7211),
    ],
)
def test_runs_that_were_measured_lie_inside_their_intervals_and_far_from_the_last_short_run(law, bits, actual):
    found = law(262144.0, [16384.0, 32768.0, 65536.0], bits)
    assert abs(math.log(actual / found.median)) < Z_P90 * found.log_deviation < abs(math.log(actual / bits[-1])) / 2
