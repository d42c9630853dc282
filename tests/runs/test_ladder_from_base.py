"""Three short runs of a run from a base: what they forecast of both losses, and when training from scratch is as good."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from small_run import call, require_clear_error, write_texts

from headwater.core.records import read_records

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


def test_a_run_file_without_a_ladder_has_no_runs_from_scratch(laddered):
    said = call("plan", "on.toml", "--runs", "mine.toml", "--loss-unit", "bits_per_byte", cwd=laddered[0])
    require_clear_error(said, "mine.toml has no finished ladder of these settings; `headwater ladder mine.toml`")


def test_the_run_keeps_its_forecast_and_the_report_compares_both_losses(laddered, tmp_path):
    folder = Path(shutil.copytree(laddered[0], tmp_path / "run", symlinks=True))
    said = call("run", "on.toml", cwd=folder)
    assert said.status == 0, said
    kept = json.loads((folder / "runs/on/forecast.json").read_text())["from_base"]
    assert kept == laddered[1].json["from_base"]
    page = (folder / "runs/on/report.html").read_text()
    assert "new text" in page and "The loss was not forecast" not in page


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(("--share", "0.5"), "remove it"), (("train.num_steps=55", "name=short"), "raise train.num_steps to 64 or more")],
)
def test_what_such_a_ladder_can_t_be_is_refused(laddered, arguments, says):
    require_clear_error(call("ladder", "on.toml", *arguments, cwd=laddered[0]), says)


def test_without_short_runs_the_plan_names_them(laddered):
    said = call("plan", "on.toml", "name=fresh", "--json", cwd=laddered[0])
    assert said.json["from_base"] is None and "three short runs" in said.json["how"]["loss"]
