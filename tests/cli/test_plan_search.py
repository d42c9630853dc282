"""`headwater plan --budget` as people and programs call it."""

from __future__ import annotations

import pytest
from small_run import call, write_run_file, write_texts

from headwater.cli.plan_search import _checkpoints

TEN_THOUSAND = ("plan", "--budget", "$10k", "--hardware", "8xH100", "--text-bytes", "40G")


def test_a_program_gets_json(tmp_path):
    value = call(*TEN_THOUSAND, "--json", cwd=tmp_path).json
    assert value["budget"]["programme"]["usd"] == pytest.approx(10_000)
    assert value["choices"][0]["kinds"][0] == "compute-optimal"


def test_a_person_gets_cards(tmp_path):
    said = call(*TEN_THOUSAND, cwd=tmp_path)
    assert said.status == 0, said
    for words in ("compute-optimal", "inference-aware", "data-limited", "$6,667", "goodput", "published laws"):
        assert words in said.out


def test_goodput_is_explained_beside_the_time(tmp_path):
    card = " ".join(call(*TEN_THOUSAND, cwd=tmp_path).out.replace("│", " ").split())
    assert "% of this time is training; " in card
    assert "failures and what they undo 0." in card


def test_only_what_headwater_can_run_is_offered_unless_all_layouts_are(tmp_path):
    value = call(*TEN_THOUSAND, "--json", cwd=tmp_path).json
    for choice in value["choices"]:
        layout = choice["layout"]
        assert (choice["runnable"], choice["needs"], layout["precision"]) == (True, [], "bf16")
        assert (layout["tensor"], layout["pipeline"], layout["context"], layout["sharding"]) == (1, 1, 1, "zero1")
    value = call(*TEN_THOUSAND, "--all-layouts", "--json", cwd=tmp_path).json
    marked = [choice for choice in value["choices"] if not choice["runnable"]]
    assert marked
    assert all("sharded weights (FSDP)" in choice["needs"] for choice in marked)
    card = call(*TEN_THOUSAND, "--all-layouts", cwd=tmp_path).out
    assert "headwater can't run this today" in card
    assert "sharded weights (FSDP): headwater has none of it today" in " ".join(card.replace("│", " ").split())


def test_hours_say_how_far_whole_runs_were_off(tmp_path):
    value = call(*TEN_THOUSAND, "--json", cwd=tmp_path).json
    assert value["budget"]["hours_backtest"] == {"runs": 25, "median": 0.337, "p90": 0.635}
    hours = value["choices"][0]["hours"]
    assert hours["p90"] / hours["p50"] > 1.6
    card = " ".join(call(*TEN_THOUSAND, cwd=tmp_path).out.replace("│", " ").split())
    assert "forecasts of 25 published whole runs were 34% off in the median" in card


@pytest.mark.parametrize("order", [("mine.toml", "--budget", "60s"), ("--budget=60s", "mine.toml")])
def test_a_run_may_stand_before_or_after(tmp_path, order):
    write_texts(tmp_path / "texts", 30)
    write_run_file(tmp_path / "mine.toml")
    value = call("plan", *order, "--json", cwd=tmp_path).json
    assert value["name"] == "mine"
    assert value["choices"][0]["shape"]["vocab_size"] == 384


def test_the_largest_budget_that_is_named_is_accepted(tmp_path):
    said = call("plan", "--budget", "$1e30", "--hardware", "8xH100", cwd=tmp_path)
    assert said.status == 2, said
    most = said.err.rpartition("at most $")[2].strip().replace(",", "")
    assert call("plan", "--budget", f"${float(most) * 0.999:.0f}", "--hardware", "8xH100", cwd=tmp_path).status == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--budget", "10k"], "single quotes"),
        (["--budget", "2h", "--hardware", "8xH1000"], "did you mean H100-SXM"),
        (["--budget", "1s", "--hardware", "8xH100"], "raise the budget"),
        (["--budget", "$1k", "--hardware", "8xH100", "--runs", "nowhere.csv"], "nowhere.csv doesn't exist"),
        (["--budget", "$1e30", "--hardware", "8xH100"], "take more hardware, or a budget of at most $"),
        (["--budget", "11 years", "--hardware", "8xH100"], "neither money"),
        (
            ["--budget", "96000h", "--hardware", "8xH100"],
            "more than 10 years: take more hardware, or a budget of at most 87,660h",
        ),
        (["nowhere", "--budget", "2h"], "is no recipe, run file or run folder"),
    ],
)
def test_what_is_wrong_is_said_without_a_traceback(tmp_path, arguments, message):
    said = call("plan", *arguments, cwd=tmp_path)
    assert said.status in (1, 2), said
    assert message in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize("hours", [17.34, 17.342997069037, 1 / 3, 62434.789448141455 / 3600])
def test_an_interval_within_the_run_is_never_said_to_be_longer(hours):
    seconds = 62434.789448141455
    saved = {"interval_seconds": seconds, "interval_hours": min(seconds / 3600, hours), "mtbf_seconds": 3.6e6}
    assert ("longer than the run" in _checkpoints(saved)) is (hours < seconds / 3600)
