"""`headwater plan RUN` as people and programs call it."""

from __future__ import annotations

import shlex

import pytest
from small_run import call, write_run_file, write_texts

from headwater.cli.plan_cards import _of_ranks
from headwater.train.checkpoint.layout import list_checkpoints

BANDS = ("hours", "energy_kwh", "memory_gb")


@pytest.fixture
def run_file(tmp_path):
    write_texts(tmp_path / "texts", 60)  # enough to be read once
    return write_run_file(tmp_path / "mine.toml")


def table(path, scale=1.0):
    """Write a table of runs that follow a law, and return it."""
    rows = ["params,tokens,loss"]
    for params in (1e4, 3e4, 1e5, 3e5):
        for tokens in (3e4, 1e5, 3e5, 1e6):
            rows.append(f"{params},{tokens},{scale * (1.5 + 40 * params**-0.35 + 30 * tokens**-0.3)}")
    path.write_text("\n".join(rows) + "\n")
    return path


def test_a_run_that_was_never_built_is_planned(run_file, tmp_path):
    value = call("plan", "mine.toml", "--json", cwd=tmp_path).json
    for name in BANDS:
        assert 0 < value[name]["p10"] <= value[name]["p50"] <= value[name]["p90"]
    assert value["loss"] is None
    assert "--runs CSV" in value["loss_refused"]
    assert value["money"] is None
    assert "price_per_hour in a costs file" in value["how"]["money"]
    assert value["counts"]["tokens"] == 24 * 512
    assert not (tmp_path / "runs").exists()


def test_the_plan_of_a_begun_run_says_from_where_it_resumes_and_what_is_left(finished):
    def resume(*settings: str) -> dict:
        said = call("plan", *finished.arguments[1:], *settings, "--json", cwd=finished.cwd)
        assert said.status == 0, said
        return said.json["resume"]

    kept = [step for step, _ in list_checkpoints(finished.run_dir)]
    num_steps = max(kept)
    assert resume() == {"step": num_steps, "steps_left": 0, "seconds_left": 0, "steps_again": 0}
    more_steps = f"train.num_steps={2 * num_steps}", "schedule.decay_fraction=0.1"
    longer = resume(*more_steps)
    assert longer["step"] in kept and longer["steps_left"] == 2 * num_steps - longer["step"] > 0
    assert longer["steps_again"] == num_steps - longer["step"] > 0
    again = f"steps {longer['step'] + 1} to {num_steps} are trained again"
    assert again in call("plan", *finished.arguments[1:], *more_steps, cwd=finished.cwd).out
    assert "optim.beta2: was" in resume("optim.beta2=0.9")["refused"]
    said = call("plan", *finished.arguments[1:], cwd=finished.cwd)
    assert f"to step {num_steps}, its last. Below, all of its steps" in said.out
    assert "trained again" not in said.out
    refused = call("plan", "mine.toml", "optim.beta2=0.9", cwd=finished.cwd).out
    assert "│ " + " " * 16 + "Below, a new run with these settings " in refused


@pytest.mark.parametrize(
    ("sizes", "says"),
    [
        ({"replicate": 4}, "4 copies of the weights, each whole on one rank"),
        ({"shard": 4}, "one copy of the weights, divided among 4 ranks"),
        (
            {"replicate": 16, "shard": 8, "tensor": 8},
            "16 copies of the weights, each divided among 64 ranks; 8 ranks share",
        ),
        (
            {"pipeline": 2, "shard": 2},
            "one copy of the weights, in 2 stages of layers, each stage divided among 2 ranks",
        ),
    ],
)
def test_how_ranks_lie_is_said_in_copies_and_parts(sizes, says):
    ((_, text), _) = _of_ranks({"ranks": {**sizes, "machines": 1}, "how": {"ranks": ""}})
    assert says in text


def test_a_recipe_is_planned_by_its_name(tmp_path):
    value = call("plan", "first-light", "machine.num_threads=2", "--json", cwd=tmp_path).json
    assert value["counts"]["tokens"] == 4_096_000


def test_options_may_come_first(run_file, tmp_path):
    assert call("plan", "--json", "mine.toml", cwd=tmp_path).json["name"] == "mine"


def test_price_and_watts_are_those_given(run_file, tmp_path):
    (tmp_path / "costs.toml").write_text("price_per_hour = 2\nwatts = 50\n")
    value = call("plan", "mine.toml", "--costs", "costs.toml", "--json", cwd=tmp_path).json
    assert value["money"]["p50"] == pytest.approx(2 * value["hours"]["p50"])
    assert value["energy_kwh"]["p50"] == pytest.approx(0.05 * value["hours"]["p50"])


def test_carbon_and_cooling_are_those_given(run_file, tmp_path):
    (tmp_path / "costs.toml").write_text("pue = 1.5\nkg_co2_per_kwh = 0.1\nwatts = 50\n")
    value = call("plan", "mine.toml", "--costs", "costs.toml", "--json", cwd=tmp_path).json
    assert value["energy_kwh"]["p50"] == pytest.approx(1.5 * 0.05 * value["hours"]["p50"])
    assert value["kg_co2"]["p50"] == pytest.approx(0.1 * value["energy_kwh"]["p50"])
    card = call("plan", "mine.toml", cwd=tmp_path)
    assert " g CO2 (" in card.out
    assert "nothing for cooling, 0.4 kg of CO2 a kWh, between the averages" in " ".join(
        card.out.replace("│", " ").split()
    )


def test_a_chance_that_cannot_be_said_is_said_to_be_unknown(run_file, tmp_path):
    said = call("plan", "mine.toml", "--max-money", "5", "--target-loss", "1", cwd=tmp_path)
    words = " ".join(said.out.replace("│", " ").split())
    assert "how likely it breaks --max-money isn't known: see money" in words
    assert "how likely it breaks --target-loss isn't known: see held-out loss" in words
    assert words.count("no loss without runs") == 1
    assert "headwater ladder mine.toml` trains small ones" in words and "or give --runs CSV" in words


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("pu = 1.1", "unknown setting; did you mean pue"),
        ("watts = 0", "watts = 0: give a number above 0"),
        ("pue = 0.9", "pue = 0.9: give 1 or more"),
        ("watts = ", "costs.toml is not valid TOML: "),
        ('hardware = "mine.csv"', "hardware counts with --hardware alone"),
    ],
)
def test_a_costs_file_that_cannot_be_says_why(run_file, tmp_path, text, says):
    (tmp_path / "costs.toml").write_text(text)
    for words in (["mine.toml"], ["--budget", "2h"]):
        said = call("plan", *words, "--costs", "costs.toml", cwd=tmp_path)
        assert said.status == 2, said
        assert says in said.err


def test_a_costs_file_that_is_not_there_is_named(run_file, tmp_path):
    assert "no such file: none.toml" in call("plan", "mine.toml", "--costs", "none.toml", cwd=tmp_path).err


def test_options_of_the_other_question_are_refused(run_file, tmp_path):
    said = call("plan", "mine.toml", "--text-bytes", "4G", cwd=tmp_path)
    assert said.status == 2
    assert "--text-bytes needs --budget" in said.err
    assert call(*shlex.split(said.err.rpartition("such as: headwater ")[2]), cwd=tmp_path).status == 0
    assert (
        "--max-hours is for the plan of one run" in call("plan", "--budget", "2h", "--max-hours", "1", cwd=tmp_path).err
    )


def test_a_run_is_planned_on_named_devices(run_file, tmp_path):
    words = ("plan", "mine.toml", "train.batch_tokens=4096", "train.microbatch_tokens=64")
    value = call(*words, "--hardware", "16xH100", "--json", cwd=tmp_path).json
    size = ("replicate", "shard", "machines")
    assert [value["ranks"][name] for name in size] == [16, 1, 2]
    assert value["money"]["p50"] > 0
    same = call(*words, "--hardware", "H100", "--ranks", "2x8", "--json", cwd=tmp_path).json
    assert same["ranks"] == value["ranks"]
    both = call(*words, "--hardware", "16xH100", "--ranks", "2x8", cwd=tmp_path)
    assert "counts the ranks, as --ranks 2x8 does" in both.err


RUNS = ("--runs", "runs.csv", "--loss-unit", "nats_per_token")


def test_loss_follows_the_law_of_a_table(run_file, tmp_path):
    table(tmp_path / "runs.csv")
    value = call("plan", "mine.toml", *RUNS, "--target-loss", "100", "--json", cwd=tmp_path).json
    params, tokens = value["counts"]["params"], value["counts"]["tokens"]
    if value["loss"] is None:
        pytest.fail(value["loss_refused"])
    assert value["loss"]["p50"] == pytest.approx(1.5 + 40 * params**-0.35 + 30 * tokens**-0.3, rel=0.05)
    assert value["probabilities"]["misses_target_loss"] == 0


def test_a_person_gets_a_card(run_file, tmp_path):
    said = call("plan", "mine.toml", "--max-hours", "1", cwd=tmp_path)
    assert said.status == 0, said
    assert "plan · mine" in said.out
    assert "to take more than 1 hours" in said.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max-hours", "0"], "--max-hours 0: give a number above zero"),
        (["--max-money", "-3"], "--max-money -3"),
        (["--target-loss", "nan"], "--target-loss nan"),
        (["--max-hours", "soon"], "'--max-hours': give a number;"),
        (["model.layers=3"], "layers"),
    ],
)
def test_what_is_wrong_is_said_without_a_traceback(run_file, tmp_path, arguments, message):
    said = call("plan", "mine.toml", *arguments, cwd=tmp_path)
    assert said.status in (1, 2), said
    assert message in said.err
    assert "Traceback" not in said.err
