"""Estimates of tables' rows: blind to results, in order, with bands, and clear about what is wrong."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from headwater.errors import ConfigError, DataError
from headwater.plan.count import count_flops, count_params
from headwater.plan.estimate import Tables, band, estimate_file
from headwater.plan.rows.known import TABLES, table_of, without_results
from headwater.plan.rows.llm_foundry import llm_foundry_shape
from headwater.plan.tables import read_csv

COST = Path(__file__).parents[2] / "benchmarks/data/cost"
NAMES = ("parallelism_benchmarks.csv", "mpt_throughput.csv", "training_runs.csv")


def write(path: Path, rows: list[dict[str, str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def one_row(name: str, index: int = 0, **changed: str) -> list[dict[str, str]]:
    return [read_csv(COST / name)[index] | changed]


@pytest.mark.parametrize("name", NAMES)
def test_blanking_or_spoiling_the_results_changes_nothing_but_what_is_of_reported_hours(name, tmp_path):
    rows = read_csv(COST / name)
    results = table_of(list(rows[0])).results_in(rows[0])
    assert set(results) <= set(rows[0]), "a result column that is not in the table"
    before = without_reported_hours(estimate_file(COST / name, Tables()))
    for text in ("", "nonsense"):
        spoilt = [row | dict.fromkeys(results, text) for row in rows]
        found = estimate_file(write(tmp_path / "spoilt.csv", spoilt), Tables())
        assert not any(row.get("energy_kwh_of_reported_hours") for row in found["estimates"])
        assert without_reported_hours(found) == before
    without = [{column: text for column, text in row.items() if column not in results} for row in rows]
    assert without_reported_hours(estimate_file(write(tmp_path / "without.csv", without), Tables())) == before


def without_reported_hours(found: dict) -> list[dict]:
    dropped = "energy_kwh_of_reported_hours"
    return [{name: value for name, value in row.items() if name != dropped} for row in found["estimates"]]


def test_every_result_column_is_named_as_unread_or_with_what_it_is_read_for():
    for name in NAMES:
        found, columns = estimate_file(COST / name, Tables()), set(read_csv(COST / name)[0])
        named = {*found["results_not_read"], *found["results_read"]}
        assert named == set(table_of(list(columns)).results_in(columns))
        assert found["results_read"].keys() == ({"accel_hours"} if name == "training_runs.csv" else set())


def test_a_file_with_the_old_names_of_columns_is_estimated_alike_and_blindly(tmp_path):
    old = {"grade": "judge_grade", "grade_note": "judge_note"}
    rows = read_csv(COST / "training_runs.csv")
    assert set(old) <= set(rows[0])
    renamed = [{old.get(name, name): text for name, text in row.items()} for row in rows]
    found = estimate_file(write(tmp_path / "old.csv", renamed), Tables())
    assert found["estimates"] == estimate_file(COST / "training_runs.csv", Tables())["estimates"]
    assert set(old.values()) <= set(found["results_not_read"])
    for row in without_results(renamed, table_of(list(renamed[0]))):
        assert not row.keys() & {*old, *old.values()}


def test_energy_carbon_and_money_are_of_the_estimated_hours(tmp_path):
    """Of a run without a number of tokens too: a billion of them, though its reported hours are the whole run's."""
    for changed in ({}, {"tokens": ""}, {"accel_hours": ""}):
        data = write(tmp_path / "a.csv", one_row("training_runs.csv", **changed))
        (found,) = estimate_file(data, Tables())["estimates"]
        hours = found["device_hours"]["p50"]
        assert found["energy_kwh"]["p50"] == pytest.approx(hours * found["mean_watts"] / 1000 * 1.1)
        assert found["tonnes_co2"]["p50"] == pytest.approx(found["energy_kwh"]["p50"] * 0.4 / 1000)
        assert found["usd"]["p50"] == pytest.approx(hours * found["price"]["usd_per_hour"])
        assert found["totals_of"].startswith("a billion tokens" if "tokens" in changed else "the whole run")


def test_energy_of_reported_hours_has_a_name_of_its_own(tmp_path):
    rows = one_row("training_runs.csv", pue="")
    told = estimate_file(write(tmp_path / "a.csv", rows), Tables())["estimates"][0]
    kwh = float(rows[0]["accel_hours"]) * told["mean_watts"] / 1000
    assert told["energy_kwh_of_reported_hours"]["p50"] == pytest.approx(kwh)
    assert told["energy_kwh_of_reported_hours"]["p50"] != told["energy_kwh"]["p50"]


@pytest.mark.parametrize("hours", ["1000", ""])
@pytest.mark.parametrize(("pue", "value", "source"), [("1.3", 1.3, "row"), ("", 1.5, "the meter")])
def test_the_source_of_pue_is_that_of_its_value(pue, hours, value, source, tmp_path):
    sites = tmp_path / "sites.csv"
    sites.write_text("site,pue,kg_co2_per_kwh,source\nhome,1.5,0.1,the meter\n")
    data = write(tmp_path / "t.csv", one_row("training_runs.csv", pue=pue, accel_hours=hours))
    (found,) = estimate_file(data, Tables(sites=sites, site="home"))["estimates"]
    assert found["sources"]["pue"].startswith(source)
    drawn = found["device_hours"]["p50"] * found["mean_watts"] / 1000
    assert found["energy_kwh"]["p50"] == pytest.approx(value * drawn)


def test_all_that_ran_fits():
    """Every row of the three tables is of a run that took place."""
    for name in NAMES:
        refused = [row for row in estimate_file(COST / name, Tables())["estimates"] if row.get("fits") is False]
        assert not refused, [(row["line"], row["memory_needed_gib"], row["device_memory_gib"]) for row in refused]


def test_what_does_not_fit_as_assumed_is_unknown_and_says_why(tmp_path):
    """65 billion parameters on a node of 8: whatever the layout, but the row names none, so it isn't ruled out."""
    data = write(tmp_path / "t.csv", one_row("training_runs.csv", 2, n_accel="8"))
    (found,) = estimate_file(data, Tables())["estimates"]
    assert found["memory_needed_gib"] > found["device_memory_gib"]
    assert found["fits"] is None
    assert found["fits_unknown"].startswith("not as assumed, and the row doesn't say: layout: tensor")
    stated = write(tmp_path / "m.csv", one_row("mpt_throughput.csv", 0, MicroBatchSize="64", GlobalBatchSize="32768"))
    (found,) = estimate_file(stated, Tables())["estimates"]
    assert (found["fits"], found["fits_unknown"]) == (False, None)


def test_recomputation_of_some_layers_is_not_called_full():
    words = set()
    for name in NAMES:
        for row in estimate_file(COST / name, Tables())["estimates"]:
            if "error" not in row and 0 < row["recomputed_layers"] < 1:
                words.add(row["recompute"])
                assert row["recompute"] == f"full in {100 * row['recomputed_layers']:.3g} % of the layers"
                assert row["tflops_per_device"]["hardware"] < 1.32 * row["tflops_per_device"]["causal"]
                assert not any(text.endswith("recompute full") for text in row["assumed"])
    assert len(words) > 1


def test_every_row_has_an_estimate_or_a_reason():
    for name in NAMES:
        estimates = estimate_file(COST / name, Tables())["estimates"]
        assert [row["row"] for row in estimates] == list(range(len(estimates)))
        refused = [row for row in estimates if "error" in row]
        assert all("n_layers is needed and blank" in row["error"] for row in refused), refused
        assert len(refused) == (4 if name.startswith("parallelism") else 0)
        for row in estimates:
            if "error" not in row:
                for quantity in ("step_seconds", "tokens_per_second", "memory_gib", "device_hours", "energy_kwh"):
                    assert 0 < row[quantity]["p10"] < row[quantity]["p50"] < row[quantity]["p90"]
                assert 0 < row["mfu"] < 1
        json.dumps(estimates, allow_nan=False)


def test_flops_reproduce_the_published_utilisation():
    peaks = {"h100_80gb": 989e12, "a100_80gb": 312e12, "a100_40gb": 312e12}
    errors = []
    for row in read_csv(COST / "mpt_throughput.csv"):
        shape = llm_foundry_shape(row["Model"], int(row["SeqLen (T)"]), "")
        assert count_params(shape).total == int(row["NumParams"])
        peak = peaks[row["GPU"]] * (2 if "fp8" in row["Precision"] else 1)
        mfu = 100 * float(row["Throughput (T/s/GPU)"]) * count_flops(shape).palm / peak
        errors.append(abs(mfu / float(row["MFU"]) - 1))
    assert sorted(errors)[len(errors) // 2] < 1e-3


def test_a_band_holds_its_median_in_the_middle_of_the_logarithm():
    found = band(100.0, 0.2)
    assert found["p10"] * found["p90"] == pytest.approx(found["p50"] ** 2)


@pytest.mark.parametrize(
    ("name", "changed", "message"),
    [
        ("parallelism_benchmarks.csv", {"hardware": "H1000"}, "no device 'H1000' in the hardware table"),
        ("parallelism_benchmarks.csv", {"n_gpus": "33"}, "is not n_gpus=33"),
        ("parallelism_benchmarks.csv", {"dp": "16"}, r"1 × 1 × 1 × 16 is not n_gpus=32"),
        ("parallelism_benchmarks.csv", {"n_layers": "-24"}, "n_layers=-24 must be a positive number"),
        ("parallelism_benchmarks.csv", {"n_layers": "2.5"}, "n_layers=2.5 must be a whole number"),
        ("parallelism_benchmarks.csv", {"seq_len": "inf"}, "seq_len=inf must be a positive number"),
        ("parallelism_benchmarks.csv", {"d_model": "wide"}, "d_model='wide' is not a number"),
        ("parallelism_benchmarks.csv", {"vocab": ""}, "vocab is needed and blank"),
        ("parallelism_benchmarks.csv", {"n_heads": "7"}, "d_model=2304 is no multiple of n_heads=7"),
        ("parallelism_benchmarks.csv", {"params": "1e6"}, "are fewer than attention and embeddings"),
        ("parallelism_benchmarks.csv", {"global_batch_seqs": "511"}, "a batch of 511 rows is no multiple"),
        ("mpt_throughput.csv", {"Model": "9b"}, "no model '9b'; known are 125m"),
        ("training_runs.csv", {"n_accel": "1000000"}, "at 1,000,000 devices; one fails every 3 minutes"),
        ("training_runs.csv", {"n_accel": "10000000"}, "one fails every 0.3 minutes and a restart takes 20,"),
        ("training_runs.csv", {"tokens": "0"}, "tokens=0 must be a positive number"),
        ("training_runs.csv", {"pue": "0.4"}, "pue=0.4 is below 1"),
        ("parallelism_benchmarks.csv", {"pue": "0.4"}, "pue=0.4 is below 1"),
        ("parallelism_benchmarks.csv", {"precision": "int3"}, "precision='int3' is none of bf16"),
        ("parallelism_benchmarks.csv", {"precision": "fp8"}, "A100-SXM-80 multiplies no fp8"),
    ],
)
def test_a_row_that_cannot_be_says_why(name, changed, message, tmp_path):
    (found,) = estimate_file(write(tmp_path / "t.csv", one_row(name, **changed)), Tables())["estimates"]
    assert set(found) == {"row", "line", "error"}
    assert re.search(message, found["error"]), found["error"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no rows"),
        ("a,b\n", "has no rows"),
        ("a,a\n1,2\n", "has the column 'a' twice"),
        ("a,b\n1,2,3\n", "line 2: 3 cells and 2 columns"),
        ("a,b\n1,2\n", "of no table that can be estimated"),
        ('a,b\n"1,2\n', "is not a CSV table"),
        ("Model,SeqLen (T),# GPUs,GPU,MicroBatchSize\n1,2,3,4,5\n", "which needs also GlobalBatchSize, Precision"),
    ],
)
def test_a_file_that_is_no_table_says_why(text, message, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        estimate_file(path, Tables())


def test_a_file_that_cannot_be_read_says_so(tmp_path):
    with pytest.raises(DataError, match="doesn't exist"):
        estimate_file(tmp_path / "none.csv", Tables())
    with pytest.raises(DataError, match="is a folder"):
        estimate_file(tmp_path, Tables())
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not a CSV file in UTF-8"):
        estimate_file(tmp_path / "b.csv", Tables())


def test_a_users_tables_replace_ours(tmp_path):
    rows = one_row("training_runs.csv")
    data = write(tmp_path / "t.csv", rows)
    hardware = tmp_path / "hardware.csv"
    hardware.write_text(
        "name,architecture,bf16_TFLOPs,memory_GB,memory_TBps,watts,link_GBps,network_GBps,node_size\n"
        "A100-80GB,ampere,624,80,4,800,600,50,8\n"
    )
    prices = tmp_path / "prices.csv"
    prices.write_text("device,kind,usd_per_hour,date,source\nA100-80GB,spot,0.5,2026,quote\n")
    sites = tmp_path / "sites.csv"
    sites.write_text("site,pue,kg_co2_per_kwh\nhome,1.5,0.1\n")
    ours = estimate_file(data, Tables())["estimates"][0]
    (theirs,) = estimate_file(data, Tables(hardware, prices, sites, "home", "spot"))["estimates"]
    assert theirs["device_hours"]["p50"] == pytest.approx(ours["device_hours"]["p50"] / 2, rel=0.1)
    assert theirs["mean_watts"] == 2 * ours["mean_watts"]
    assert theirs["usd"]["p50"] == pytest.approx(0.5 * theirs["device_hours"]["p50"])
    assert theirs["price"]["source"] == "quote"
    assert theirs["programme_usd"][0] == pytest.approx(1.5 * theirs["usd"]["p50"])
    assert theirs["tonnes_co2"]["p50"] == pytest.approx(0.1 * theirs["energy_kwh"]["p50"] / 1000)


ONE_DEVICE = """name,aliases,architecture,bf16_TFLOPs,memory_GB,memory_TBps,watts,link_GBps,network_GBps,node_size
A100-80GB,A100-SXM-80,ampere,312,80,2,400,300,25,8
"""


def test_a_hardware_table_of_one_device_takes_its_price_from_ours(tmp_path):
    hardware = tmp_path / "mine.csv"
    hardware.write_text(ONE_DEVICE)
    data = write(tmp_path / "t.csv", one_row("training_runs.csv"))
    (ours,) = estimate_file(data, Tables())["estimates"]
    (found,) = estimate_file(data, Tables(hardware=hardware))["estimates"]
    assert found["price"] == ours["price"]
    assert found["usd"]["p50"] == pytest.approx(ours["price"]["usd_per_hour"] * found["device_hours"]["p50"])


def test_a_price_of_an_unknown_device_is_passed_over(tmp_path):
    prices = tmp_path / "prices.csv"
    prices.write_text("device,kind,usd_per_hour\nX,spot,1\n")
    data = write(tmp_path / "t.csv", one_row("training_runs.csv"))
    (found,) = estimate_file(data, Tables(prices=prices))["estimates"]
    assert found["price"] is None


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"site": "moon"}, "no site 'moon'"),
        ({"price_kind": "stolen"}, "'stolen' is no kind of price"),
        ({"hardware": "pue,kg\n1,2\n"}, "lacks the columns name, architecture"),
        ({"sites": "site,pue,kg_co2_per_kwh\naverage,0.9,1\n"}, "pue=0.9 is below 1"),
    ],
)
def test_a_table_that_cannot_be_says_why(tables, message, tmp_path):
    given = {}
    for name, value in tables.items():
        given[name] = value
        if "\n" in value:
            given[name] = tmp_path / f"{name}.csv"
            given[name].write_text(value)
    data = write(tmp_path / "t.csv", one_row("training_runs.csv"))
    try:
        said = estimate_file(data, Tables(**given))["estimates"][0]["error"]
    except ConfigError as error:
        said = str(error)
    assert re.search(message, said), said


def test_every_table_is_one_of_the_published_ones():
    assert tuple(known.name for known in TABLES) == NAMES
