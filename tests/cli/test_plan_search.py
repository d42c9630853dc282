"""`headwater plan --budget` as people and programs call it."""

from __future__ import annotations

import re
import shlex

import pytest
from small_run import call, write_run_file, write_texts

TEN_THOUSAND = ("plan", "--budget", "$10k", "--hardware", "8xH100", "--text-bytes", "40G")


def test_a_program_gets_json(tmp_path):
    value = call(*TEN_THOUSAND, "--json", cwd=tmp_path).json
    assert value["budget"]["usd"] == pytest.approx(10_000)
    assert value["choice"]["params"] > 0


def test_a_person_gets_cards(tmp_path):
    said = call(*TEN_THOUSAND, cwd=tmp_path)
    assert said.status == 0, said
    for words in ("the run", "$10,000", "published law"):
        assert words in said.out


def test_the_part_of_the_loss_for_repetition_is_a_part(tmp_path):
    short = (*TEN_THOUSAND[:-1], "1G")
    rise = call(*short, "--json", cwd=tmp_path).json["choice"]["repetition_costs"]
    assert f"{rise / (1 + rise):.1%} of it for repetition" in call(*short, cwd=tmp_path).out


def test_what_a_run_leaves_of_the_money_is_said(tmp_path):
    short = (*TEN_THOUSAND[:-1], "1G")
    first = call(*short, "--json", cwd=tmp_path).json["choice"]
    left = 10_000 - first["money"]["p50"]
    assert f"${left:,.0f}, " in next(line for line in call(*short, cwd=tmp_path).out.splitlines() if "left  " in line)


def test_the_next_commands_can_be_copied_as_they_are_printed(tmp_path):
    """Each on a line of its own; the plan of what is recommended has its size, its steps and its time."""
    write_texts(tmp_path / "texts", 30)
    write_run_file(tmp_path / "mine.toml")
    search = ("plan", "mine.toml", "--budget", "60s", "optim.weight_decay=0.2")
    chosen = call(*search, "--json", cwd=tmp_path).json["choice"]
    plan, run = call(*search, cwd=tmp_path).out.rpartition("next:\n")[2].splitlines()
    assert shlex.split(run)[:3] == ["headwater", "run", "mine.toml"]
    assert "optim.weight_decay=0.2" in shlex.split(run)
    planned = call(*shlex.split(plan)[1:], "--json", cwd=tmp_path).json
    assert planned["counts"]["params"] == chosen["params"]
    assert planned["counts"]["num_steps"] == chosen["num_steps"]
    assert planned["hours"]["p50"] == pytest.approx(chosen["hours"]["p50"], rel=0.3)  # a core's rate is measured twice


def test_what_follows_a_budget_of_a_run_that_is_begun_has_another_name(finished):
    found = call("plan", "mine.toml", "--budget", "60s", "--json", cwd=finished.cwd).json
    said = call(*shlex.split(found["next"][0])[1:], "--json", cwd=finished.cwd)
    assert said.status == 0 and said.json["name"] == "mine-budget"


@pytest.mark.parametrize(
    ("words", "ranks", "torchrun"),
    [
        (["--ranks", "2"], "2", "--nproc-per-node 2"),
        (["--ranks", "2x2"], "2x2", "--nnodes 2 --rdzv-backend c10d --rdzv-endpoint HOST:PORT --nproc-per-node 2"),
        (["parallel.shard=2"], "2", "--nproc-per-node 2"),
    ],
)
def test_the_next_commands_are_of_the_ranks_that_were_planned(tmp_path, words, ranks, torchrun):
    write_texts(tmp_path / "texts", 30)
    write_run_file(tmp_path / "mine.toml")
    found = call("plan", "mine.toml", "--budget", "60s", *words, "--json", cwd=tmp_path).json
    plan, train = found["next"]
    assert train.startswith(f"torchrun {torchrun} -m headwater train mine.toml ")
    assert plan.endswith(f" --ranks {ranks}")
    said = call(*shlex.split(plan)[1:], "--json", cwd=tmp_path)
    assert said.status == 0, said
    planned = said.json["ranks"]
    assert found["choice"]["layout"].startswith(
        f"{planned['replicate'] * planned['shard']} ranks, replicate = {planned['replicate']} × shard = "
    )


def test_what_headwater_can_run_is_offered(tmp_path):
    said = call(*TEN_THOUSAND, cwd=tmp_path).out
    of_own_text = said.splitlines()[-1]  # of a run file that isn't there yet
    assert of_own_text == "headwater plan mine.toml --budget '$10k' --hardware 8xH100"
    write_texts(tmp_path / "texts", 30)
    write_run_file(tmp_path / "mine.toml")
    said = call(*shlex.split(of_own_text)[1:], cwd=tmp_path).out
    mesh = re.search(r"8 ranks, replicate = (\d) × shard = (\d), bf16", said)
    assert int(mesh[1]) * int(mesh[2]) == 8
    assert f"parallel.shard={mesh[2]} parallel.pipeline=1" in said, "training lies as the search found"
    assert "\ntorchrun --nproc-per-node 8 -m headwater train mine.toml model.family=qwen3 " in said


def test_the_next_search_goes_by_the_same_runs(tmp_path):
    sizes = [(1e6 * 2**n, 1e6 * 2**n * ratio) for n in range(7) for ratio in (10, 20, 40)]
    rows = [f"{params},{tokens},{0.6 + 30 / params**0.3 + 60 / tokens**0.3}" for params, tokens in sizes]
    (tmp_path / "runs.csv").write_text("\n".join(["params,tokens,loss", *rows]))
    by_runs = ("--runs", "runs.csv", "--loss-unit", "bits_per_byte")
    found = call("plan", "--budget", "2h", *by_runs, "--json", cwd=tmp_path).json
    assert found["next"][-1] == shlex.join(["headwater", "plan", "mine.toml", "--budget", "2h", *by_runs])


def test_hours_say_how_far_whole_runs_were_off(tmp_path):
    value = call(*TEN_THOUSAND, "--json", cwd=tmp_path).json
    errors, hours = value["budget"]["hours_backtest"], value["choice"]["hours"]
    assert errors["runs"] == 25
    assert hours["p90"] / hours["p50"] > 1 + errors["median"]
    card = " ".join(call(*TEN_THOUSAND, cwd=tmp_path).out.replace("│", " ").split())
    assert f"25 published whole runs were {errors['median']:.0%} off in the median" in card


@pytest.mark.parametrize("order", [("mine.toml", "--budget", "60s"), ("--budget=60s", "mine.toml")])
def test_a_run_may_stand_before_or_after(tmp_path, order):
    write_texts(tmp_path / "texts", 30)
    write_run_file(tmp_path / "mine.toml")
    value = call("plan", *order, "--json", cwd=tmp_path).json
    assert value["name"] == "mine"
    assert value["choice"]["shape"]["vocab_size"] == 384


def test_the_largest_budget_that_is_named_is_accepted(tmp_path):
    said = call("plan", "--budget", "$1e30", "--hardware", "8xH100", cwd=tmp_path)
    assert said.status == 2, said
    most = said.err.rpartition("at most ")[2].strip().replace(",", "").replace(" ", "")
    assert call("plan", "--budget", most, "--hardware", "8xH100", cwd=tmp_path).status == 0


NATS = ("--loss-unit", "nats_per_token")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--budget", "10k"], "single quotes"),
        (["--budget", "$1k", "--hardware", "8xH100", "--runs", "nowhere.csv", *NATS], "nowhere.csv doesn't exist"),
        (["--budget", "$1e30", "--hardware", "8xH100"], "take more hardware or a smaller budget"),
        (["--budget", "11 years", "--hardware", "8xH100"], "neither money"),
        (["--budget", "96000h", "--hardware", "8xH100"], "of at most 87,660 h"),
        (["--budget", "2h", "--loss-unit", "bananas"], "'bananas' is not one of 'bits_per_byte', 'nats_per_token'"),
        (["--budget", "2h", "--runs", "nowhere.csv"], "--runs: no such file: nowhere.csv"),
        (["--budget", "2h", "--runs", "runs.csv"], "say what its losses are: --loss-unit"),
        (["--budget", "2h", "--runs", "of.toml", *NATS], "losses of a ladder are bits per byte; remove --loss-unit"),
        (["--budget", "2h", "--runs", "of.toml"], "'of.toml' is no recipe, run file or run folder"),
    ],
)
def test_what_is_wrong_is_said_without_a_traceback(tmp_path, arguments, message):
    (tmp_path / "runs.csv").write_text("params,tokens,loss\n")
    said = call("plan", *arguments, cwd=tmp_path)
    assert said.status in (1, 2), said
    assert message in said.err
    assert "Traceback" not in said.err
