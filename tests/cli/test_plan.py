"""`headwater plan` of a run and of a budget, and `plan count`, as people and programs call them."""

from __future__ import annotations

import json
import shlex

import pytest
from small_run import call, write_run_file, write_texts

from headwater.cli.plan_cards import plan_card
from headwater.train.checkpoint.layout import list_checkpoints


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a run file, texts enough to be read once, costs, and a table of runs that follow a law."""
    folder = tmp_path_factory.mktemp("plan")
    write_texts(folder / "texts", 60)
    write_run_file(folder / "mine.toml")
    sizes = [(params, tokens) for params in (1e4, 3e4, 1e5, 3e5) for tokens in (3e4, 1e5, 3e5, 1e6)]
    rows = [f"{params},{tokens},{law(params, tokens)}" for params, tokens in sizes]
    (folder / "runs.csv").write_text("\n".join(["params,tokens,loss", *rows]))
    (folder / "costs.toml").write_text("price_per_hour = 2\npue = 1.5\nkg_co2_per_kwh = 0.1\nwatts = 50\n")
    return folder


def law(params: float, tokens: float) -> float:
    return 1.5 + 40 * params**-0.35 + 30 * tokens**-0.3


@pytest.fixture
def plan(folder):
    """Return what a plan prints as JSON."""
    return lambda *words: call("plan", *words, "--json", cwd=folder).json


@pytest.fixture
def card(folder):
    """Return what a plan shows people, in one line."""
    return lambda *words: " ".join(call("plan", *words, cwd=folder).out.replace("│", " ").split())


def test_a_run_that_was_never_built_is_planned(folder, plan, card):
    value = plan("mine.toml")
    assert all(0 < value[name]["p10"] <= value[name]["p50"] <= value[name]["p90"] for name in ("hours", "memory_gb"))
    assert value["loss"] is None and "--runs CSV" in value["loss_refused"]
    assert value["money"] is None and "price_per_hour" in value["how"]["money"]
    assert value["counts"]["tokens"] == 24 * 512
    said = card("mine.toml", "--max-hours", "1")
    assert "plan · mine" in said and "to take more than 1 hours" in said
    assert "nothing for cooling, 0.4 kg of CO2 a kWh, between the averages" in said
    assert not (folder / "runs").exists()


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
    assert f"to step {num_steps}, its last. Below, all of its steps" in said.out and "trained again" not in said.out
    refused = call("plan", "mine.toml", "optim.beta2=0.9", cwd=finished.cwd).out
    assert "│ " + " " * 16 + "Below, a new run with these settings " in refused


@pytest.mark.parametrize(
    ("sizes", "says"),
    [
        ({"replicate": 4}, "4 copies of the weights, each whole on one rank"),
        ({"shard": 4}, "one copy of the weights, divided among 4 ranks"),
        ({"replicate": 16, "shard": 8, "tensor": 8}, "16 copies of the weights, each divided among 64 ranks; 8 ranks"),
        ({"pipeline": 2, "shard": 2}, "one copy of the weights, in 2 stages of layers, each stage divided among 2"),
    ],
)
def test_how_ranks_lie_is_said_in_copies_and_parts(plan, sizes, says):
    found = plan("mine.toml")
    lines = dict(plan_card({**found, "ranks": {**sizes, "machines": 1}, "how": {**found["how"], "ranks": ""}}))
    assert says in lines["ranks"]


# ---- a budget


TEN_THOUSAND = ("--budget", "$10k", "--hardware", "8xH100", "--text-bytes", "40G")


def test_a_budget_buys_a_run_and_people_see_what_was_asked(plan, card):
    value, said = plan(*TEN_THOUSAND), card(*TEN_THOUSAND)
    assert value["budget"]["usd"] == pytest.approx(10_000)
    assert all(words in said for words in ("the run", "$10,000", "published law"))
    errors, hours = value["budget"]["hours_backtest"], value["choice"]["hours"]
    assert errors["runs"] == 25 and hours["p90"] / hours["p50"] > 1 + errors["median"]
    assert f"25 published whole runs were {errors['median']:.0%} off in the median" in said


def test_the_next_commands_can_be_copied_as_they_are_printed(folder, plan):
    """Each on a line of its own; the plan of what is recommended has its size, its steps and its time."""
    search = ("--budget", "60s", "mine.toml", "optim.weight_decay=0.2")
    found = plan(*search)
    assert (found["name"], found["choice"]["shape"]["vocab_size"]) == ("mine", 384)
    chosen, printed = found["choice"], call("plan", *search, cwd=folder).out.rpartition("next:\n")[2].splitlines()
    planning, run = map(shlex.split, printed)
    assert run[:3] == ["headwater", "run", "mine.toml"] and "optim.weight_decay=0.2" in run
    planned = plan(*planning[2:])
    assert planned["counts"]["params"] == chosen["params"] and planned["counts"]["num_steps"] == chosen["num_steps"]
    assert planned["hours"]["p50"] == pytest.approx(chosen["hours"]["p50"], rel=0.3)  # a core's rate is measured twice


@pytest.mark.parametrize(
    ("words", "ranks", "torchrun"),
    [
        (["--ranks", "2"], "2", "--nproc-per-node 2"),
        (["--ranks", "2x2"], "2x2", "--nnodes 2 --rdzv-backend c10d --rdzv-endpoint HOST:PORT --nproc-per-node 2"),
        (["parallel.shard=2"], "2", "--nproc-per-node 2"),
    ],
)
def test_the_next_commands_are_of_the_ranks_that_were_planned(plan, words, ranks, torchrun):
    found = plan("mine.toml", "--budget", "60s", *words)
    planning, train = found["next"]
    assert train.startswith(f"torchrun {torchrun} -m headwater train mine.toml ")
    assert planning.endswith(f" --ranks {ranks}")
    mesh = plan(*shlex.split(planning)[2:])["ranks"]
    lies = f"{mesh['replicate'] * mesh['shard']} ranks, replicate = {mesh['replicate']} × shard = "
    assert found["choice"]["layout"].startswith(lies)


# ---- plan count


LLAMA = ["vocab_size=128256", "num_layers=32", "d_model=4096", "d_ff=14336", "num_heads=32", "num_kv_heads=8"]
QWEN_BLOCK = 4 * 256**2 + 3 * 256 * 704 + 2 * 256 + 2 * 64


GPT2 = {"vocab_size": 50257, "n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1024}


@pytest.mark.parametrize(
    ("words", "params"),
    [
        (["."], 124_439_808),  # a folder with GPT-2's config.json
        (["--family", "llama", *(word for each in LLAMA for word in ("--set", each))], 8_030_261_248),
        (["--family", "llama", "--set", *LLAMA, "tied_embeddings=false"], 8_030_261_248),
        # what isn't given comes from the rules: embeddings of their own, heads and widths
        (["--family", "qwen3", "num_layers=4", "vocab_size=8192"], 2 * 8192 * 256 + 4 * QWEN_BLOCK + 256),
    ],
)
def test_a_family_is_counted_as_a_run_would_build_it(tmp_path, words, params):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2", **GPT2}))
    seq_len = ["--seq-len", "8192"] if "--family" in words else []
    value = call("plan", "count", *words, *seq_len, "--json", cwd=tmp_path).json
    assert {"six_n", "full_attention", "causal", "hardware"} <= set(value["flops_per_token"])
    assert value["params"] == value["active_params"] == params
    assert f"{params:,}" in call("plan", "count", *words, cwd=tmp_path).out
    if "llama" in words:
        assert value["flops_per_token"]["causal"] == pytest.approx(6 * 7_504_658_432 + 6 * 32 * 32 * 128 * 8193)
