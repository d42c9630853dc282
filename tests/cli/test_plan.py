"""`headwater plan` of a run and of a budget, and `plan count`, as people and programs call them."""

from __future__ import annotations

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


# ---- a budget


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


# ---- plan count


LLAMA_3_8B = [
    *("vocab_size=128256", "num_layers=32", "d_model=4096", "d_ff=14336", "num_heads=32", "num_kv_heads=8"),
    "tied_embeddings=false",
]


def sets(settings: list[str]) -> list[str]:
    return [part for setting in settings for part in ("--set", setting)]


@pytest.mark.parametrize("arguments", [sets(LLAMA_3_8B), ["--set", *LLAMA_3_8B]], ids=["each", "once"])
def test_count_of_a_family(arguments, tmp_path):
    said = call("plan", "count", "--family", "llama", *arguments, "--seq-len", "8192", "--json", cwd=tmp_path)
    value = json.loads(said.out)
    assert value["params"] == value["active_params"] == 8_030_261_248
    assert value["flops_per_token"]["causal"] == pytest.approx(6 * 7_504_658_432 + 6 * 32 * 32 * 128 * 8193)


def test_count_of_a_folder(tmp_path):
    pytest.importorskip("transformers")
    config = {
        "model_type": "gpt2",
        "vocab_size": 50257,
        "n_embd": 768,
        "n_layer": 12,
        "n_head": 12,
        "n_positions": 1024,
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    value = json.loads(call("plan", "count", str(tmp_path), "--json", cwd=tmp_path).out)
    assert value["params"] == 124_439_808
    assert {"six_n", "full_attention", "causal", "hardware"} <= set(value["flops_per_token"])


def test_count_speaks_to_people(tmp_path):
    said = call("plan", "count", "--family", "llama", *LLAMA_3_8B, cwd=tmp_path)
    assert "8,030,261,248" in said.out


def test_an_own_family_is_counted_as_a_run_would_build_it(tmp_path):
    """What isn't given comes from the rules: embeddings of their own, heads and widths."""
    sizes = ["num_layers=32", "d_model=4096", "num_heads=32", "num_kv_heads=8", "d_ff=14336", "vocab_size=128256"]
    found = call("plan", "count", "--family", "llama", *sizes, "--json", cwd=tmp_path)
    assert json.loads(found.out)["params"] == 8_030_261_248
    few = call("plan", "count", "--family", "qwen3", "num_layers=4", "vocab_size=8192", "--json", cwd=tmp_path)
    d_model, d_ff, head_dim = 256, 704, 64
    block = 4 * d_model**2 + 3 * d_model * d_ff + 2 * d_model + 2 * head_dim
    assert json.loads(few.out)["params"] == 2 * 8192 * d_model + 4 * block + d_model
