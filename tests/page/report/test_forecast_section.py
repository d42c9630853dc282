"""The report's part on the forecast and the actual values."""

from __future__ import annotations

import pytest
from fake_run import forecast, json_file, run_records, write_records, write_run
from read_page import read_page

from headwater.core.records import read_records
from headwater.page.report.page import render_report
from headwater.plan.run_plan import NO_RUNS


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs"), num_steps=60)


@pytest.fixture(scope="module")
def page(run_dir):
    return read_page(render_report(run_dir))


def test_the_table_has_band_actual_value_error_and_verdict(page):
    part = page.text.split("Forecast and actual values")[1].split("Settings and their reasons")[0]
    rows = {line: part.split(f"\n{line}\n")[1].split("\n")[:7] for line in ("training time", "memory")}
    assert rows["training time"] == ["6.600", "9.000", "12.00", "8.440", "minutes", "−6.2 %", "inside"]
    assert rows["memory"] == ["0.9000", "1.000", "1.100", "1.250", "GB", "+25.0 %", "outside"]


def test_the_loss_is_drawn_with_its_band(page, run_dir):
    validations = read_records(run_dir / "records.jsonl", "validation")
    ys = page.trace("Loss of validations", "validation")[1]
    assert ys == [record["bits_per_byte"]["all"] for record in validations]
    assert page.trace("Loss of validations", "P90")[1] == [1.21, 1.21]


def test_a_run_in_progress_shows_the_forecast_alone(tmp_path):
    run_dir = write_run(tmp_path, num_steps=30)
    write_records(run_dir, run_records(30)[:40])
    text = read_page(render_report(run_dir)).text
    assert "not known" in text


def test_without_a_forecast_the_page_says_how_one_is_made_and_why_one_may_be_gone(tmp_path):
    run_dir = write_run(tmp_path, num_steps=6)
    (run_dir / "forecast.json").unlink()
    text = read_page(render_report(run_dir)).text
    assert "headwater plan RUN" in text and "removed when the run resumes with other settings" in text


def test_without_a_loss_the_page_says_how_to_get_one(tmp_path):
    run_dir = write_run(tmp_path, num_steps=6)
    refused = f"{NO_RUNS} <b>"
    kept = forecast() | {"loss": None, "loss_refused": refused}
    json_file(run_dir / "forecast.json", kept)
    page = read_page(render_report(run_dir))
    assert f"The loss was not forecast: {refused}." in page.text
    assert '<span class="option">--runs</span>' in page.source, "a line may end within an option"
    assert "Loss on held-out text, and its forecast" not in page.text, "no empty card beside the chart of time"
    plain = kept | {"loss_refused": "no loss without runs"}
    json_file(run_dir / "forecast.json", plain)
    assert len(page.all("b")) == len(read_page(render_report(run_dir)).all("b"))


@pytest.mark.parametrize("value", [None, 3, "x", [], {}, {"hours": 3}, {"p10": 1, "p50": "x"}, [{"p10": 1}]])
def test_a_forecast_of_odd_shape_is_no_reason_to_fail(tmp_path, value):
    run_dir = write_run(tmp_path, num_steps=6)
    for shape in (value, dict.fromkeys(forecast(), value), forecast() | {"loss_unit": value, "made_at": value}):
        json_file(run_dir / "forecast.json", shape)
        read_page(render_report(run_dir))
