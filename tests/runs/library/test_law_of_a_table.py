"""The law of a table of finished runs, as --json and people have it, and what a table has no use for."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
from small_run import call

import headwater
import headwater.cli.main
from headwater.core.errors import ConfigError

SHAPE = ["A", "B", "E", "alpha", "beta", "num_points", "seconds"]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Forty-two runs of loss = 1.7 + 400 / params^0.33 + 900 / tokens^0.31, as a file."""
    path = tmp_path_factory.mktemp("law") / "runs.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["params", "tokens", "loss"])
        for budget in range(6):
            for size in range(7):
                flops = 1e18 * 10 ** (budget / 2)
                params = 0.1 * flops**0.5 * 10 ** (-0.5 + size / 6)
                tokens = flops / 6 / params
                off = 1 + 0.001 * (-1) ** (budget + size)
                writer.writerow([params, tokens, (1.7 + 400 * params**-0.33 + 900 * tokens**-0.31) * off])
    return path


def test_json_has_the_promised_shape(table):
    said = call("ladder", "--table", str(table), "--json", "--at", "1e9,1e11", "--at", "2e9,2e11", cwd=table.parent)
    assert said.status == 0, said
    value = json.loads(said.out, parse_constant=pytest.fail)
    assert list(value)[: len(SHAPE)] == SHAPE
    assert value["num_points"] == 42
    assert value["alpha"] == pytest.approx(0.33, abs=0.03)
    assert [(found["params"], found["tokens"]) for found in value["forecasts"]] == [(1e9, 1e11), (2e9, 2e11)]
    assert all(found["p10"] < found["p50"] < found["p90"] for found in value["forecasts"])
    assert value["forecasts"][0]["p50"] == pytest.approx(1.7 + 400 * 1e9**-0.33 + 900 * 1e11**-0.31, rel=0.005)


CHINCHILLA = Path(__file__).parents[3] / "benchmarks/data/scaling/chinchilla_approach3_svg.csv"


def test_an_interval_is_of_the_exponent_it_is_printed_with(tmp_path):
    """The upper end was the curve's own exponent to the last digit, where that lies outside the interval."""
    rows = list(csv.DictReader(CHINCHILLA.read_text(encoding="utf-8").splitlines()))
    rows = sorted(rows, key=lambda row: float(row["loss"]))[:-5]  # as arXiv:2404.10102 has it
    lines = ["params,tokens,loss", *(f"{row['N']},{row['D_tokens_C_over_6N']},{row['loss']}" for row in rows)]
    (tmp_path / "runs.csv").write_text("\n".join(lines), encoding="utf-8")
    arguments = ("ladder", "--table", "runs.csv")
    value = json.loads(call(*arguments, "--json", cwd=tmp_path).out)
    said = call(*arguments, cwd=tmp_path).out
    for name, found in value["exponent_intervals"].items():
        assert found["p10"] < found["likeliest"] < found["p90"] < value[name]
        assert f"{name:<6} {found['likeliest']:.4f}"[:10] in said
    assert f"baseline: loss = {value['E']:.4f}" in said and f"params^{value['alpha']:.4f}" in said


def test_a_person_reads_the_law_the_forecast_and_the_optimum(table):
    said = call("ladder", "--table", str(table), "--at", "1e9,1e11", cwd=table.parent)
    assert "loss = 1.7" in said.out
    assert re.search(r"\n *1.00B +100B +1 ", said.out)
    assert "best size for" in said.out
    assert "p50 is not the curve of the law" in said.out


def test_a_refused_forecast_says_why_in_place_of_a_number(table):
    said = call("ladder", "--table", str(table), "--json", "--at", "1e15,1e18", cwd=table.parent)
    found = json.loads(said.out)["forecasts"][0]
    assert found["p50"] is None
    assert "decades of compute beyond the largest run" in found["refused"]


@pytest.mark.parametrize(
    ("row", "says"), [("2.5", "only go from 2.5 to 2.5"), ("{rising}", "the larger run has the higher loss")]
)
def test_a_table_without_a_law_gets_words_in_place_of_every_forecast(tmp_path, row, says):
    rows = [
        f"{1e7 * 2**n},{1e9 * 2**d}," + row.format(rising=2 + 0.1 * n + 0.1 * d) for n in range(4) for d in range(4)
    ]
    (tmp_path / "runs.csv").write_text("\n".join(["params,tokens,loss", *rows]))
    arguments = ("ladder", "--table", "runs.csv", "--at", "2e8,1e10")
    value = json.loads(call(*arguments, "--json", cwd=tmp_path).out)
    assert [warning["code"] for warning in value["warnings"]] == ["no_law"]
    assert value["forecasts"][0]["p50"] is None and says in value["forecasts"][0]["refused"]
    assert says in value["optimum"]["refused"]
    said = call(*arguments, cwd=tmp_path)
    assert says in said.out and "loss =" not in said.out


def test_a_table_of_repeated_text_says_so_to_people(table, tmp_path):
    lines = table.read_text().splitlines()
    rows = [f"{lines[0]},epochs", *(f"{line},4" for line in lines[1:])]
    (tmp_path / "runs.csv").write_text("\n".join(rows))
    said = call("ladder", "--table", "runs.csv", cwd=tmp_path)
    assert said.status == 0, said
    assert "runs of up to 4 epochs: the cost of repetition is taken out of the law" in said.out


@pytest.mark.parametrize(
    "given", [{"loss_colum": "other"}, {"overrides": ["train.num_steps=9"]}, {"train": {"seed": 1}}]
)
def test_what_a_table_has_no_use_for_is_refused(tmp_path, given):
    (tmp_path / "runs.csv").write_text("params,tokens,loss\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="small runs of RUN"):
        headwater.ladder(table=tmp_path / "runs.csv", **given)
