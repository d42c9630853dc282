"""A budget as people give it: what the choices cost, hold and refuse."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest
from small_run import write_run_file, write_texts

from headwater.errors import ConfigError, DataError
from headwater.forecast.budget_fields import plan_fields
from headwater.forecast.candidate import sizes
from headwater.forecast.cluster import LAUNCH_SECONDS
from headwater.forecast.device import find_device, read_devices
from headwater.runs import budget_processor, budget_search, plan_machine
from headwater.runs.costs import Costs
from headwater.runs.plan_machine import around_steps, machinery
from headwater.runs.run_config import load_run
from headwater.runs.search_options import SearchOptions
from headwater.runs.text_size import usual_bytes_per_token
from headwater.scaling.repetition import repeated_loss

MONEY = SearchOptions("$10k", hardware="8xH100", text_bytes="40G")


def searched(options):
    return plan_fields(budget_search.search_budget(options))


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    monkeypatch.setattr(plan_machine, "gpu_name", lambda: None)
    monkeypatch.setattr(budget_processor, "memory_bytes", lambda: 16 * 2**30)
    monkeypatch.setattr(plan_machine, "float32_rate_per_core", lambda: 1e11)


@pytest.fixture(scope="module")
def answer():
    return searched(MONEY)


def of_kind(result, kind):
    return next(choice for choice in result["choices"] if kind in choice["kinds"])


def table(path, scale=1.0):
    """Write runs of a few hundred thousand parameters that follow a law, and return the file."""
    rows = ["params,tokens,loss"]
    for params in (1e5, 3e5, 1e6, 3e6):
        for tokens in (3e5, 1e6, 3e6, 1e7):
            rows.append(f"{params},{tokens},{scale * (1.5 + 40 * params**-0.35 + 30 * tokens**-0.3)}")
    path.write_text("\n".join(rows) + "\n")
    return path


def test_hours_times_devices_times_price_is_the_money(answer):
    assert answer["budget"]["programme"]["usd"] == pytest.approx(10_000)
    parts = answer["budget"]["final_run"], answer["budget"]["ladder_and_failures"]
    assert sum(part["usd"] for part in parts) == pytest.approx(10_000)
    price = answer["budget"]["usd_per_device_hour"]
    for part in (*parts, answer["budget"]["programme"]):
        assert part["hours"] * 8 * price == pytest.approx(part["usd"])
    for choice in answer["choices"]:
        assert choice["hours"]["p50"] * 8 * price == pytest.approx(choice["money"]["p50"])


def test_the_band_of_money_holds_the_range_of_prices_unless_a_price_is_given(answer):
    told = searched(SearchOptions("$10k", hardware="8xH100", text_bytes="40G", costs=Costs(price_per_hour=2.95)))
    (of_hours, ranged), (own_hours, own) = (
        (log_band(found["choices"][0]["hours"]), log_band(found["choices"][0]["money"])) for found in (answer, told)
    )
    low, high = map(float, re.search(r"([\d.]+) to ([\d.]+) seen", answer["budget"]["price_how"]).groups())
    assert own == pytest.approx(own_hours)
    assert ranged**2 == pytest.approx(of_hours**2 + math.log(high / low) ** 2)


def log_band(band):
    return math.log(band["p90"] / band["p10"])


def test_with_enough_text_the_first_choice_spends_the_final_runs_money():
    result = searched(SearchOptions("$10k", hardware="8xH100", text_bytes="4T"))
    first, step = result["choices"][0], 1 / result["choices"][0]["num_steps"]
    assert first["money"]["p50"] == pytest.approx(10_000 / 1.5, rel=step)


def test_tokens_are_what_the_speed_gives_in_the_hours(answer):
    for choice in answer["choices"]:
        seconds = 3600 * choice["hours"]["p50"] - LAUNCH_SECONDS
        assert choice["tokens_per_second"] * seconds == pytest.approx(choice["tokens"])
        assert choice["num_steps"] * choice["batch_tokens"] == choice["tokens"]
        assert choice["epochs"] == pytest.approx(choice["tokens"] / (40e9 / 4.5))


def test_memory_fits_in_nine_of_ten_runs(answer):
    for choice in answer["choices"]:
        given = choice["layout"]
        assert given["num_microbatches"] * given["microbatch_rows"] * given["data"] == given["batch_rows"]
        assert choice["memory_gib"]["p90"] <= choice["memory_limit_gib"] * 1.001


def test_every_quantity_has_its_interval_and_its_reason(answer):
    for choice in answer["choices"]:
        for name in ("loss", "hours", "device_hours", "money", "energy_kwh", "memory_gib"):
            band = choice[name]
            assert 0 < band["p10"] <= band["p50"] <= band["p90"], name
        assert sum(choice["hours_by_part"].values()) == pytest.approx(choice["hours"]["p50"])
        goodput = choice["hours_by_part"]["steps"] / choice["hours"]["p50"]
        assert choice["checkpoint"]["goodput"] == pytest.approx(goodput)
        assert all(choice["reasons"])
        assert 0.9 < choice["checkpoint"]["goodput"] < 1
        assert choice["mfu"] < 0.7
    assert "published laws" in answer["loss"]["how"]


def test_the_first_choice_is_the_least_of_the_frontier_and_lies_among_the_laws_own(answer):
    least = min(answer["frontier"], key=lambda size: size["loss_over_least"])
    assert least["loss_over_least"] == 1
    assert least["params"] == answer["choices"][0]["params"]
    own = [each["params"] for each in answer["by_law"]]
    assert min(own) <= answer["choices"][0]["params"] <= max(own)


def test_data_limited_choices_agree_with_the_published_law(answer):
    """That law alone, over every size and up to sixteen epochs, as far as the hours allow."""
    first, found = answer["choices"][0], answer["by_law_of_repetition"]
    unique, tried = answer["text"]["unique_tokens"], []
    for size in answer["frontier"]:
        rate = size["tokens"] / size["hours"]
        tokens = np.geomspace(unique / 10, min(16 * unique, rate * first["hours"]["p50"]), 2000)
        tried += [(float(loss), size["params"]) for loss in repeated_loss(np.array(size["params"]), tokens, unique)]
    assert first["params"] == pytest.approx(min(tried)[1], rel=0.25)
    own = float(repeated_loss(np.array(first["params"]), np.array(first["tokens"]), unique))
    assert own == pytest.approx(min(tried)[0], rel=2e-3)
    assert (found[0]["law"], found[0]["params"]) == ("arXiv:2305.16264", first["params"])


def test_both_sizes_are_shown_where_laws_of_repeated_text_disagree(answer):
    ours, theirs = (each["params"] for each in answer["by_law_of_repetition"])
    assert max(ours / theirs, theirs / ours) > 1.25
    assert any("laws of repeated text disagree on the size" in note for note in answer["notes"])


def test_what_nobody_measured_is_said():
    found = searched(SearchOptions("$10k", hardware="8xH100", text_bytes="4G"))
    assert any("measured up to 0.7 parameters a unique token" in note for note in found["notes"])


def test_memory_and_time_are_muons(answer):
    """Weights and gradients whole in fp32, a moment divided: what `headwater train` keeps on each rank."""
    for choice in answer["choices"]:
        layout = choice["layout"]
        state = choice["params"] * (4 + 4 + 4 / layout["num_devices"])
        assert state < choice["memory_gib"]["p50"] * 2**30 < 4 * state


def test_all_three_kinds_are_there(answer):
    assert {kind for choice in answer["choices"] for kind in choice["kinds"]} == {
        "compute-optimal",
        "inference-aware",
        "data-limited",
    }


def test_the_interval_of_checkpoints_is_dalys(answer):
    saved = answer["choices"][0]["checkpoint"]
    young = (2 * saved["save_seconds"] * saved["mtbf_seconds"]) ** 0.5
    assert saved["interval_seconds"] == pytest.approx(young, rel=0.05)
    # 5.8 GPU-years between failures (arXiv:2407.21783)
    assert saved["mtbf_seconds"] * 8 / 3600 / 8766 == pytest.approx(5.8, rel=0.01)


def test_hours_are_the_runs_own_unless_a_share_is_given():
    whole = searched(SearchOptions("2h", hardware="8xH100"))
    half = searched(SearchOptions("2h", hardware="8xH100", costs=Costs(final_share=0.5)))
    assert whole["budget"]["final_run"]["hours"] == 2
    assert half["budget"]["final_run"]["hours"] == 1
    assert half["choices"][0]["flops"] < 0.7 * whole["choices"][0]["flops"]
    assert "the run's own" in whole["budget"]["final_share_how"]
    assert half["budget"]["final_share_how"] == "final_share of the costs file"


def test_a_dearer_kind_of_price_buys_less():
    options = {"hardware": "8xH100", "text_bytes": "4T"}
    reserved, on_demand = (
        searched(SearchOptions("$10k", costs=Costs(price_kind=kind), **options)) for kind in ("reserved", "on_demand")
    )
    ratio = on_demand["budget"]["usd_per_device_hour"] / reserved["budget"]["usd_per_device_hour"]
    assert reserved["budget"]["final_run"]["hours"] == pytest.approx(ratio * on_demand["budget"]["final_run"]["hours"])


def test_memory_is_kept_and_precision_is_bf16_by_default():
    result = searched(SearchOptions("$1k", hardware="8xH100", costs=Costs(max_memory="20G")))
    for choice in result["choices"]:
        assert choice["layout"]["precision"] == "bf16"
        assert choice["memory_gib"]["p90"] * 2**30 <= 20e9 * 1.001


def test_the_processor_at_hand_is_searched_without_hardware():
    result = searched(SearchOptions("2h", text_bytes="300M"))
    assert "this processor" in result["budget"]["device"]
    assert result["choices"][0]["hours"]["p50"] == pytest.approx(2, rel=0.01)
    assert result["choices"][0]["money"] is None
    assert all(choice["memory_gib"]["p90"] <= choice["memory_limit_gib"] for choice in result["choices"])


def run_of(choice, run_file, *overrides):
    """Return the settings of the run that a choice describes."""
    settings = [f"{name}={json.dumps(value)}" for name, value in choice["settings"].items()]
    return load_run(run_file, [*settings, *overrides])[0]


@pytest.mark.parametrize("changed", [(), ("train.half_length_fraction=0.0", "train.num_probes=0")], ids=" ".join)
def test_a_choice_takes_the_step_and_the_memory_that_the_plan_of_that_run_says(run_file, changed):
    choice = searched(SearchOptions("90s", run=run_file, overrides=changed))["choices"][0]
    run = run_of(choice, run_file, *changed)
    found = machinery(run)
    assert run.model.model_dump(mode="json") == choice["shape"]
    assert (run.train.num_steps, run.train.batch_tokens) == (choice["num_steps"], choice["batch_tokens"])
    steps_seconds = 3600 * choice["hours_by_part"]["steps"]
    assert steps_seconds / choice["num_steps"] == pytest.approx(found.step.seconds.median, rel=1e-9)
    assert choice["memory_gib"]["p50"] * 2**30 == pytest.approx(found.memory.median, rel=1e-9)


def test_rows_in_halves_are_faster(run_file):
    halves, whole = (
        searched(
            SearchOptions(
                "90s", run=run_file, overrides=(f"train.half_length_fraction={fraction}", f"model.seq_len={length}")
            )
        )
        for fraction, length in ((1.0, 64), (0.0, 64))
    )
    assert halves["choices"][0]["tokens_per_second"] > whole["choices"][0]["tokens_per_second"]


def test_text_takes_its_memory_in_a_search_up_to_half_of_the_machines():
    model, peaks = next(iter(sizes("qwen3", 8192, 256))), []
    for num_bytes in (0.0, 1e9, 1e12):
        processor = budget_processor.processor_at_hand(None, None, num_bytes)
        peaks.append(processor.candidate(model, 1e8, 0.0).memory_bytes)
    assert peaks[1] - peaks[0] == pytest.approx(1.16e9)
    assert peaks[2] - peaks[0] == pytest.approx(1.16 * 8 * 2**30)  # mapped pages come and go


def test_rows_in_halves_are_no_slower_on_devices():
    whole, halves = (
        searched(SearchOptions("2h", hardware="8xH100", run="gpt2-124m", text_bytes="40G", overrides=(setting,)))
        for setting in ("train.half_length_fraction=0.0", "train.half_length_fraction=0.5")
    )
    rates = [
        {size["params"]: size["tokens"] / size["hours"] for size in found["frontier"]} for found in (whole, halves)
    ]
    both = rates[0].keys() & rates[1].keys()
    assert both
    assert all(1 <= rates[1][params] / rates[0][params] < 1.1 for params in both)


def test_a_processor_refuses_what_is_for_devices():
    with pytest.raises(ConfigError, match="name --hardware"):
        searched(SearchOptions("2h", text_bytes="300M", costs=Costs(price_kind="spot")))


def test_a_processor_is_searched_in_the_dtype_given():
    with pytest.raises(ConfigError, match="float8, which is for GPUs"):
        searched(SearchOptions("1h", overrides=("machine.dtype=float8",)))
    assert "bfloat16" in searched(SearchOptions("1h", overrides=("machine.dtype=bfloat16",)))["budget"]["device"]


def test_a_run_is_searched_by_its_own_ladder(run_file, tmp_path, monkeypatch):
    monkeypatch.setattr(budget_search, "ladder_table", lambda config: table(tmp_path / "runs.csv"))
    result = searched(SearchOptions("2min", run=str(run_file)))
    assert result["loss"]["unit"] == "as in runs.csv"


def test_far_below_published_runs_no_loss_is_given():
    result = searched(SearchOptions("5min", text_bytes="40M"))
    assert result["choices"][0]["loss"] is None
    assert "no loss is given: published laws were measured from" in result["loss"]["how"]


@pytest.fixture
def run_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_texts(tmp_path / "texts", 30)
    return str(write_run_file(tmp_path / "mine.toml"))


def test_a_run_gives_text_vocabulary_and_rows(run_file, tmp_path):
    size = sum(file.stat().st_size for file in (tmp_path / "texts").iterdir())
    result = searched(SearchOptions("90s", run=run_file))
    shape = result["choices"][0]["shape"]
    assert (shape["vocab_size"], shape["seq_len"], shape["family"]) == (384, 64, "qwen3")
    assert result["text"]["unique_tokens"] == pytest.approx(size / usual_bytes_per_token(384))
    assert result["choices"][0]["epochs"] <= 16


def test_built_tokens_count_before_files(run_file, tmp_path):
    folder = tmp_path / "runs/mine/data/tokens"
    folder.mkdir(parents=True)
    manifest = {"splits": {"train": {"mine": {"num_tokens": 123_456}}}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert searched(SearchOptions("90s", run=run_file))["text"]["unique_tokens"] == 123_456


def test_losses_are_those_of_the_users_table(run_file, tmp_path):
    one, double = (table(tmp_path / f"{scale}.csv", scale) for scale in (1, 2))
    small, large = (searched(SearchOptions("60s", run=run_file, text_bytes="40M", runs=csv)) for csv in (one, double))
    for name in ("p10", "p50", "p90"):
        assert large["choices"][0]["loss"][name] == pytest.approx(2 * small["choices"][0]["loss"][name], rel=1e-3)
    first = small["choices"][0]
    law = 1.5 + 40 * first["params"] ** -0.35 + 30 * first["tokens"] ** -0.3
    assert first["loss"]["p50"] == pytest.approx(law * (1 + first["repetition_costs"]), rel=0.05)
    assert small["loss"]["unit"] == "as in 1.csv"


def test_a_table_too_far_away_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="can't carry a forecast for any size"):
        searched(SearchOptions("$1M", hardware="8xH100", runs=table(tmp_path / "runs.csv")))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"budget": "1s", "hardware": ""}, "raise the budget"),
        ({"budget": "$0.01"}, "raise the budget"),
        ({"budget": "$100", "hardware": ""}, "a budget of money needs a price"),
        ({"costs": Costs(price_kind="reserved"), "hardware": "8xH200"}, "it has on_demand, spot"),
        ({"hardware": "8xV100", "costs": Costs(price_per_hour=2.0)}, "V100-SXM2 multiplies no bf16"),
        (
            {"overrides": ("machine.dtype=float8",), "hardware": "8xA100-80GB"},
            "A100-SXM-80 multiplies no fp8: .*take bf16",
        ),
        ({"hardware": "8xMI300X"}, "no price of MI300X"),
        ({"hardware": "8xH1000"}, "did you mean H100-SXM"),
        ({"text_bytes": "2k"}, "the text is too small"),
        ({"text_bytes": "60k"}, "the text is too small"),
        ({"costs": Costs(max_memory="2G")}, "fits"),
        ({"hardware": "900000xH100"}, "larger batch"),
        ({"costs": Costs(final_share=1.5)}, "final_share"),
        ({"overrides": ("model.family=bert",)}, "none of qwen3"),
        ({"overrides": ("machine.dtype=fp5",)}, "none of auto"),
        ({"overrides": ("model.seq_len=3",)}, "seq_len=3 must be"),
        ({"overrides": ("tokenizer.vocab_size=5",)}, "vocab_size=5 must be"),
        ({"costs": Costs(site="moon")}, "no site 'moon'"),
        ({"overrides": ("train.num_steps=5",)}, "without a RUN a search reads only model.family"),
        ({"serve_tokens": "lots"}, "--serve-tokens"),
        ({"run": "nowhere"}, "is no recipe, run file or run folder"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_what_cant_be_answered_says_why(changed, says):
    with pytest.raises((ConfigError, DataError), match=says):
        searched(SearchOptions(**{**vars(MONEY), **changed}))


def test_a_gpu_at_hand_is_one_device(monkeypatch):
    monkeypatch.setattr(plan_machine, "gpu_name", lambda: "NVIDIA H100 80GB HBM3")
    result = searched(SearchOptions("2h"))
    assert result["budget"]["device"] == find_device("H100", read_devices()).name
    assert result["budget"]["num_devices"] == 1


def test_validations_and_probes_of_a_choice_are_those_of_its_plan(run_file):
    choice = searched(SearchOptions("90s", run=run_file))["choices"][0]
    run = run_of(choice, run_file)
    around = around_steps(run, machinery(run).step.seconds.median)
    planned = around["validations"].median + around["looks"].median
    assert 3600 * choice["hours_by_part"]["evaluations"] == pytest.approx(planned, rel=0.3)
