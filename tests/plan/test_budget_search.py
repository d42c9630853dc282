"""A budget as people give it: what the choices cost, hold and refuse."""

from __future__ import annotations

import itertools
import json
import math
import re
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from made_ladder import law
from needs import needs_of
from runs_table import write_runs
from small_run import write_run_file, write_texts

from headwater.core.errors import ConfigError, DataError
from headwater.machine.ranks.mesh import Place
from headwater.model.count import count_parameters
from headwater.plan import budget as module
from headwater.plan import hardware
from headwater.plan.budget import MIN_RUN_STEPS, TOO_SHORT, offer_of
from headwater.plan.forecast.device import COLUMNS, find_device, read_devices
from headwater.plan.forecast.result import Spread, checkpoint_bytes
from headwater.plan.hardware import Costs
from headwater.plan.layout import layout_here
from headwater.plan.run_plan import plan_run
from headwater.plan.scaling import ScalingLaw, read_runs
from headwater.plan.scaling.checks import forecast_warnings
from headwater.plan.scaling.published import PublishedLaw
from headwater.plan.scaling.table import EXPONENT, OWN, A, B, most_epochs, repeated_loss
from headwater.plan.sizes import DIAL, CandidateSize, model_of
from headwater.plan.text_size import MUCH_MORE, useful_epochs, usual_bytes_per_token
from headwater.runfile.run_config import load_run
from headwater.runs.library.planning import search_options

EIGHTHS = ("parallel.shard=8",)
MONEY = {"budget": "$10k", "hardware": "8xH100", "text_bytes": "40G"}


def searched(budget, **given):
    return module.search_budget(search_options(budget, **given))


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    monkeypatch.setattr(hardware, "gpu_name", lambda: None)
    monkeypatch.setattr(hardware, "memory_bytes", lambda: 16 * 2**30)
    monkeypatch.setattr(hardware, "float32_rate_per_core", lambda: 1e11)


@pytest.fixture(scope="module")
def answer():
    return searched(**MONEY)


def table(path, scale=1.0):
    """Write runs of a few hundred thousand parameters, and return the file."""
    return write_runs(path, product((1e5, 3e5, 1e6, 3e6), (3e5, 1e6, 3e6, 1e7)), scale)


def test_a_budget_searches_the_layouts_that_training_chooses_among():
    """On 64 devices a larger model is had than any one of them holds whole, as the plan of that run lies."""
    money = {"budget": "$300k", "overrides": ("model.seq_len=8192",), "costs": Costs(price_per_hour=2.0)}
    choice = searched(hardware="64xH100", **money)["choice"]
    assert choice == searched(hardware="H100", ranks="8x8", **money)["choice"]
    settings = [f"{name}={value}" for name, value in choice["settings"].items() if not name.startswith("parallel.")]
    run = load_run("first-light", ["model.tied_embeddings=false", *settings, "train.half_length_fraction=0"])[0]
    found = layout_here(run, Place(0, 64, 0, 8), find_device("H100", read_devices()))
    axes = ("shard", "pipeline", "context", "tensor")
    assert [found.mesh.size(axis) for axis in axes] == [choice["settings"][f"parallel.{axis}"] for axis in axes]
    assert found.mesh.replicate < 64
    assert checkpoint_bytes(run.model, run.optim) + 4 * choice["params"] > 80e9


def test_machines_with_a_processor_each_take_energy_and_have_memory_of_their_own():
    one, four = (searched("60s", ranks=ranks) for ranks in ("2", "4x2"))
    (kwh, hours), (kwh_of_four, hours_of_four) = (
        (found["choice"]["energy_kwh"]["p50"], found["choice"]["hours"]["p50"]) for found in (one, four)
    )
    assert kwh_of_four / hours_of_four == pytest.approx(4 * kwh / hours)
    assert one["choice"]["memory_limit_gb"] == four["choice"]["memory_limit_gb"] == pytest.approx(8.59, rel=0.001)


def test_hours_times_devices_times_price_is_the_money(answer):
    assert answer["budget"]["usd"] == pytest.approx(10_000)
    price = answer["budget"]["usd_per_device_hour"]
    assert answer["budget"]["hours"] * 8 * price == pytest.approx(10_000)
    assert answer["choice"]["hours"]["p50"] * 8 * price == pytest.approx(answer["choice"]["money"]["p50"])


def test_the_band_of_money_holds_the_range_of_prices_unless_a_price_is_given(answer):
    told = searched("$10k", hardware="8xH100", text_bytes="40G", costs=Costs(price_per_hour=2.95))
    (of_hours, ranged), (own_hours, own) = (
        (log_band(found["choice"]["hours"]), log_band(found["choice"]["money"])) for found in (answer, told)
    )
    low, high = map(float, re.search(r"([\d.]+) to ([\d.]+) seen", answer["budget"]["price_how"]).groups())
    assert own == pytest.approx(own_hours)
    assert ranged**2 == pytest.approx(of_hours**2 + math.log(high / low) ** 2)


def log_band(band):
    return math.log(band["p90"] / band["p10"])


def test_memory_is_what_ends_the_sizes_unless_the_search_does(tmp_path):
    (tmp_path / "hardware.csv").write_text(f"{','.join(COLUMNS)}\nX1,new,1000000,{{}},700,8\n")
    table = (tmp_path / "hardware.csv").read_text()
    for memory_gb, says in ((4000, "no larger model is searched: one"), (80, "no larger model fits: with more memory")):
        (tmp_path / "hardware.csv").write_text(table.format(memory_gb))
        found = searched("3000d", hardware="8xX1", costs=Costs(hardware=tmp_path / "hardware.csv"))
        assert any(note.startswith(says) for note in found["notes"]), found["notes"]


@pytest.mark.parametrize(
    ("gpu", "overrides", "device"),
    [
        (None, (), "this processor"),
        (None, ("machine.dtype=bfloat16",), "bfloat16"),
        ("NVIDIA H100 80GB HBM3", (), "H100-SXM"),
    ],
)
def test_what_is_at_hand_is_searched_without_hardware(monkeypatch, gpu, overrides, device):
    monkeypatch.setattr(hardware, "gpu_name", lambda: gpu)
    result = searched("2h", overrides=overrides)
    assert device in result["budget"]["device"] and result["budget"]["num_devices"] == 1
    assert result["choice"]["hours"]["p50"] == pytest.approx(2, rel=0.01)
    assert (result["choice"]["money"] is None) == (gpu is None)
    assert result["choice"]["memory_gb"]["p90"] <= result["choice"]["memory_limit_gb"]


def run_of(choice, run_file, *overrides):
    """Return the settings of the run that a choice describes."""
    settings = [f"{name}={json.dumps(value)}" for name, value in choice["settings"].items()]
    return load_run(run_file, [*settings, *overrides])[0]


@pytest.mark.parametrize("changed", [(), ("train.half_length_fraction=0.0", "train.num_probes=0")], ids=" ".join)
def test_a_choice_takes_the_time_and_the_memory_that_the_plan_of_that_run_says(run_file, changed):
    choice = searched("90s", run=run_file, overrides=changed)["choice"]
    run = run_of(choice, run_file, *changed)
    step, plan = needs_of(run).step.median, plan_run(run)
    assert run.model.model_dump(mode="json") == choice["shape"]
    assert (run.train.num_steps, run.train.batch_tokens) == (
        choice["num_steps"],
        choice["settings"]["train.batch_tokens"],
    )
    assert run.train.batch_tokens / step == pytest.approx(choice["tokens_per_second"], rel=1e-9)
    assert choice["hours"]["p50"] == pytest.approx(plan["hours"]["p50"], rel=0.05)
    assert choice["memory_gb"]["p50"] == pytest.approx(plan["memory_gb"]["p50"], rel=0.01)


def test_memory_does_not_grow_with_the_text_on_offer():
    """Its pages are taken back where memory is short, so that they decide nothing."""
    choices = [searched("10min", text_bytes=size)["choice"] for size in ("1G", "400G", "4T")]
    assert len({json.dumps(found) for found in choices}) == 1


def test_far_below_published_runs_no_loss_is_given():
    result = searched("5min", text_bytes="40M")
    assert result["choice"]["loss"] is None
    flops = 6 * result["choice"]["params"] * result["choice"]["tokens"]
    said = float(re.search(r"and (\S+) lie too far outside", result["loss"]["how"]).group(1))
    # of what is multiplied, without the embedding, and not of what a short text carries
    assert flops / 3 < said < flops


def test_a_budget_stays_within_the_reach_of_its_table(tmp_path):
    """A ladder's rungs have about as many tokens a parameter: no size is taken that none of them is like."""
    sizes = [(params, 10 * params) for params in (1e6, 1.5e6, 2e6, 3e6, 4e6, 6e6)]
    path = write_runs(tmp_path / "ladder.csv", sizes)
    runs = ScalingLaw(read_runs(path)).runs
    for hours in ("1h", "4h"):
        choice = searched(hours, text_bytes="1G", runs=path)["choice"]
        codes = {each.code for each in forecast_warnings(runs, choice["params"], choice["tokens"])}
        assert "other_shape" not in codes
        assert choice["num_steps"] >= 60


@pytest.fixture
def run_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_texts(tmp_path / "texts", 30)
    return str(write_run_file(tmp_path / "mine.toml"))


def test_a_run_gives_text_vocabulary_and_rows(run_file, tmp_path):
    size = sum(file.stat().st_size for file in (tmp_path / "texts").iterdir())
    result = searched("90s", run=run_file)
    shape = result["choice"]["shape"]
    train_part = 1 - load_run(run_file, [])[0].corpus.validation_fraction
    assert (shape["vocab_size"], shape["seq_len"], shape["family"]) == (384, 64, "qwen3")
    assert result["text"]["unique_tokens"] == pytest.approx(train_part * size / usual_bytes_per_token(384), rel=1e-3)
    assert result["choice"]["epochs"] <= 16


@pytest.mark.parametrize("size", ["140k", "1M"])
def test_the_plan_of_a_choice_does_not_warn_of_its_epochs(run_file, size):
    choice = searched("10min", run=run_file, text_bytes=size)["choice"]
    tokens = choice["settings"]["train.batch_tokens"]
    useful = useful_epochs(choice["params"], choice["tokens"] / choice["epochs"], tokens)
    assert choice["epochs"] < MUCH_MORE * useful


def test_built_tokens_count_before_files(run_file, tmp_path):
    folder = tmp_path / "runs/mine/data/tokens"
    folder.mkdir(parents=True)
    manifest = {"splits": {"train": {"mine": {"num_tokens": 123_456}}}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert searched("90s", run=run_file)["text"]["unique_tokens"] == 123_456


def test_losses_are_those_of_the_users_table(run_file, tmp_path):
    one, double = (table(tmp_path / f"{scale}.csv", scale) for scale in (1, 2))
    small, large = (searched("60s", run=run_file, text_bytes="40M", runs=csv) for csv in (one, double))
    for name in ("p10", "p50", "p90"):
        assert large["choice"]["loss"][name] == pytest.approx(2 * small["choice"]["loss"][name], rel=1e-3)
    first = small["choice"]
    fresh = law(first["params"], first["tokens"])
    assert first["loss"]["p50"] == pytest.approx(fresh * (1 + first["repetition_costs"]), rel=0.05)


def test_a_table_too_far_away_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="can't carry a forecast for any size"):
        searched("$1M", hardware="8xH100", runs=table(tmp_path / "runs.csv"))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"budget": "1s", "hardware": ""}, "raise the budget"),
        ({"budget": "$0.01"}, "raise the budget"),
        ({"budget": "$100", "hardware": ""}, "a budget of money needs a price"),
        ({"hardware": "8xV100", "costs": Costs(price_per_hour=2.0)}, "V100-SXM2 multiplies no bf16"),
        ({"hardware": "8xMI300X"}, "no price of MI300X"),
        ({"hardware": "8xH1000"}, "no device 'H1000'"),
        ({"text_bytes": "2k"}, "the text is too small"),
        ({"text_bytes": "60k"}, "the text is too small"),
        ({"hardware": "9000xH100"}, "larger batch"),
        ({"overrides": ("model.family=bert",)}, "model.family"),
        ({"overrides": ("machine.dtype=fp5",)}, "machine.dtype"),
        ({"overrides": ("model.seq_len=x",)}, "model.seq_len"),
        ({"overrides": ("tokenizer.vocab_size=5",)}, "vocab_size"),
        ({"run": "nowhere"}, "nowhere"),
        ({"budget": "1h", "hardware": "", "overrides": ("machine.dtype=float8",)}, "float8, which is for GPUs"),
        ({"hardware": "12xH100", "overrides": EIGHTHS}, "a multiple of 8"),
        ({"hardware": "H100", "ranks": "1", "overrides": EIGHTHS}, "a multiple of 8"),
        ({"budget": "24h", "hardware": "", "ranks": "2", "overrides": EIGHTHS}, "a multiple of 8"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_what_cant_be_answered_says_why(changed, says):
    with pytest.raises((ConfigError, DataError), match=says):
        searched(**{**MONEY, **changed})


# ---- the choice of machines of a known speed, against closed forms and against trying everything


RATE = 4e15
"FLOP/s of the machine."
LAWS = PublishedLaw()


def candidate(model) -> CandidateSize:
    return CandidateSize(
        model=model,
        batch_tokens=256 * 2048,
        seconds_per_token=6 * count_parameters(model).matmul / RATE,
        memory=Spread(1e9, 0.1),
        hours_deviation=0.1,
    )


CANDIDATES = tuple(candidate(model) for model in (model_of(layers, "qwen3", 65_536, 2048) for layers in DIAL))


def offers(flops: float, unique=math.inf, candidates=CANDIDATES):
    return [offer_of(each, flops / RATE, unique, LAWS) for each in candidates]


def best(flops: float, unique=math.inf, candidates=CANDIDATES):
    return min(offers(flops, unique, candidates), key=lambda each: each.log_loss)


def test_the_published_law_chooses_chinchilla():
    # arXiv:2203.15556 trained 70 billion parameters on 1.4 trillion tokens, 5.88e23 FLOPs
    larger = tuple(candidate(model_of(layers, "qwen3", 65_536, 2048)) for layers in (104, 112, 120, 128, 144))
    found = best(5.88e23, candidates=CANDIDATES + larger)
    assert found.candidate.size.matmul == pytest.approx(70e9, rel=0.15)
    assert found.tokens == pytest.approx(1.4e12, rel=0.2)


@pytest.mark.parametrize("flops", [1e20, 1e22])
def test_compute_optimal_is_the_closed_form_of_the_law(flops):
    closed_form = (A / B) ** (1 / (2 * EXPONENT)) * (flops / 6) ** 0.5
    # sizes of the dial lie up to a third apart
    assert best(flops).candidate.size.matmul == pytest.approx(closed_form, rel=0.2)


@pytest.mark.parametrize("unique", [math.inf, 1e12, 1e10, 1e9])
def test_the_choice_is_a_whole_run_within_the_budget(unique):
    found = best(1e22, unique)
    each, tokens = found.candidate, found.tokens
    assert each.seconds(tokens) <= 1e22 / RATE * (1 + 1e-9)
    assert tokens <= 16 * unique
    assert tokens % each.batch_tokens == 0
    assert tokens >= MIN_RUN_STEPS * each.batch_tokens


def test_text_read_again_is_chosen_for_as_the_published_law_alone_would():
    """That law alone, over every size and up to sixteen epochs, as far as the hours allow."""
    found, unique = best(5e21, 8.9e9), 8.9e9
    tried = []
    for each in CANDIDATES:
        tokens = np.geomspace(unique / 10, min(16 * unique, 5e21 / RATE / each.seconds_per_token), 2000)
        size = float(each.size.matmul)
        tried += [(float(loss), size) for loss in repeated_loss(np.array(size), tokens, unique)]
    size = float(found.candidate.size.matmul)
    own = float(repeated_loss(np.array(size), np.array(found.tokens), unique))
    assert own == pytest.approx(min(tried)[0], rel=3e-3)
    assert size == pytest.approx(min(tried)[1], rel=0.35)


def test_what_comes_around_the_steps_is_in_the_time():
    one = replace(CANDIDATES[5], around_seconds=30.0)
    assert one.seconds(1e9) == pytest.approx(30 + 1e9 * one.seconds_per_token)
    assert offer_of(one, 10.0, math.inf, LAWS).refused == TOO_SHORT


def test_the_most_epochs_fall_without_a_jump_where_the_published_law_was_not_measured():
    ratios = np.geomspace(0.5, 3, 200)
    most = [most_epochs(1e9 * ratio, 1e9) for ratio in ratios]
    assert most == sorted(most, reverse=True)
    assert (most[0], most[-1]) == (16, OWN.best_epochs(3e9, 1e9))
    assert max(before / after for before, after in itertools.pairwise(most)) < 1.05


def test_what_nobody_measured_is_said():
    found = searched("$10k", hardware="8xH100", text_bytes="4G")
    assert any("measured up to 0.7 parameters a unique token" in note for note in found["notes"])
