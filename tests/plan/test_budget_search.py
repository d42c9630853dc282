"""The run that a budget buys, and amounts as people write them."""

from __future__ import annotations

import json
import math
from itertools import product

import numpy as np
import pytest
from golden_rows import rows
from needs import needs_of
from runs_table import write_runs
from small_run import write_run_file, write_texts

from headwater.core.errors import ConfigError, DataError
from headwater.machine.ranks.mesh import Place
from headwater.model.count import count_parameters
from headwater.plan import budget as module
from headwater.plan import hardware
from headwater.plan.amounts import parse_amount, parse_budget, parse_devices, parse_hardware, parse_ranks
from headwater.plan.budget import MIN_RUN_STEPS, offer_of
from headwater.plan.forecast.device import COLUMNS, find_device, read_devices
from headwater.plan.forecast.result import Spread, checkpoint_bytes
from headwater.plan.hardware import Costs
from headwater.plan.layout import layout_here
from headwater.plan.run_plan import plan_run
from headwater.plan.scaling.published import PublishedLaw
from headwater.plan.scaling.table import EXPONENT, A, B, repeated_loss
from headwater.plan.sizes import DIAL, CandidateSize, model_of
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


@pytest.fixture
def run_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_texts(tmp_path / "texts", 30)
    return str(write_run_file(tmp_path / "mine.toml"))


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


@pytest.mark.parametrize(
    ("text", "usd", "hours"),
    [
        *((text, 10_000, None) for text in ("$10k", "10k$", "usd 10_000")),
        *(("500 USD", 500, None), ("$1.5M", 1_500_000, None), ("$2,500", 2500, None)),
        *((text, None, 2) for text in ("2h", "2H", "120min", "7200s")),
        *(("90m", None, 1.5), ("3d", None, 72), ("1.5 days", None, 36), ("1 week", None, 168), ("36s", None, 0.01)),
    ],
)
def test_money_and_time_are_read(text, usd, hours):
    budget = parse_budget(text)
    assert (budget.usd, budget.hours) == (usd, hours and pytest.approx(hours))


@pytest.mark.parametrize(
    ("text", "num", "name"),
    [
        ("8xH100", 8, "H100-SXM"),
        ("8×h100", 8, "H100-SXM"),
        ("H200", 1, "H200"),
        ("1,024 x A100-80GB", 1024, "A100-SXM-80"),
        ("16 B200", 16, "B200"),
    ],
)
def test_hardware_is_read(text, num, name):
    num_devices, device = parse_hardware(text, read_devices())
    assert (num_devices, device.name) == (num, name)


@pytest.mark.parametrize(
    ("hardware", "ranks", "fewest", "machines", "num_local"), rows("machines_of_a_device_have_equally_many_and_no_more")
)
def test_machines_of_a_device_have_equally_many_and_no_more_than_a_node(hardware, ranks, fewest, machines, num_local):
    _, place = parse_devices(hardware, ranks, fewest, read_devices())
    assert place == Place(0, machines * num_local, 0, num_local)


@pytest.mark.parametrize(("text", "noun", "value"), rows("amounts_are_read"))
def test_amounts_are_read(text, noun, value):
    assert parse_amount("--x", text, noun) == value


@pytest.mark.parametrize(
    ("parse", "texts", "says"),
    [
        (parse_budget, ["10k", "", "0k"], "single quotes"),  # a shell leaves 0k of $10k
        (parse_budget, ["12"], "dollars"),
        (parse_budget, ["-5h", "$0", "0h", "$1e999"], "above zero"),
        (parse_budget, ["5 apples"], "neither money"),
        (lambda text: parse_hardware(text, read_devices()), ["8xH1000", "8x"], "no device"),
        (lambda text: parse_hardware(text, read_devices()), ["0xH100"], "give 1 to"),
        (lambda text: parse_hardware(text, read_devices()), [""], "is empty"),
        (parse_ranks, ["0", "two", "2x", "x2", "-1", "2x0", "1.5", "2x2x2"], "such as 8, or 4x8"),
        (lambda text: parse_amount("--x", text, "bytes"), ["much", "-3G", "", "inf", "0", "3Gx"], "--x"),
    ],
)
def test_what_is_no_amount_is_explained(parse, texts, says):
    for text in texts:
        with pytest.raises(ConfigError, match=says):
            parse(text)
