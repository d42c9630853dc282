"""The track record of a folder, every run of it in its place."""

from __future__ import annotations

import json

import pytest
from fake_run import forecast, json_file, run_records, write_records, write_run
from small_run import call

from headwater.errors import DataError
from headwater.report.track_record import read_track_record, track_fields


@pytest.fixture
def runs(tmp_path):
    """Two finished runs with forecasts, and one each of all that can't be judged."""
    folder = tmp_path / "runs"
    first, second = (write_run(folder, name, num_steps=12) for name in ("first", "second"))
    json_file(second / "forecast.json", forecast() | {"memory_gib": {"p10": 1.2, "p50": 1.25, "p90": 1.3}})
    write_records(write_run(folder, "running", num_steps=12), run_records(12)[:-1])
    (write_run(folder, "old", num_steps=12) / "forecast.json").unlink()
    (write_run(folder, "torn", num_steps=12) / "forecast.json").write_text('{"format": "headwater-fore')
    (write_run(folder, "other", num_steps=12) / "forecast.json").write_text("[1]")
    (folder / "notes").mkdir()
    with (first / "records.jsonl").open("a") as file:
        file.write('{"event": "st')  # torn by a crash: no damage
    return folder


def test_every_run_is_in_exactly_one_place(runs):
    record = read_track_record(runs)
    assert list(record.judged) == ["first", "second"]
    assert (record.unfinished, record.without_forecast) == (["running"], ["old"])
    assert sorted(record.damaged) == ["other", "torn"]


def test_shares_and_errors_are_those_of_the_measured_facts(runs):
    value = track_fields(read_track_record(runs))
    # time inside twice, loss outside twice, memory once each; energy is assumed
    inside = value["inside"]
    assert (inside["num_facts"], inside["num_inside"], inside["share"]) == (6, 3, 0.5)
    assert (inside["p2_5"], inside["p97_5"]) == pytest.approx((0.1876, 0.8124), abs=1e-4)  # Wilson's of 3 in 6
    assert value["quantities"]["time"]["median_absolute_error"] == pytest.approx(abs(506.4 / 540 - 1))
    assert value["quantities"]["memory"] == {
        "num_facts": 2,
        "num_inside": 1,
        "median_absolute_error": pytest.approx(0.125),
    }
    assert "energy" not in value["quantities"]


def test_the_record_for_a_program_and_for_a_person(runs):
    value = call("plan", "track-record", "--json", cwd=runs.parent).json
    assert [run["run"] for run in value["runs"]] == ["first", "second"]
    assert value["unfinished"] == ["running"]
    said = call("plan", "track-record", "runs", cwd=runs.parent)
    assert said.status == 0, said
    assert "3 of 6 actual values inside their 80% bands: 50% (95 % interval 19% to 81%" in said.out
    assert "1 not finished: running" in said.out
    assert "damaged: torn: forecast.json is not JSON" in said.out


def test_one_run_may_be_named(runs):
    assert list(read_track_record(runs / "second").judged) == ["second"]


def test_a_folder_without_runs_is_said_and_none_at_all_is_an_error(tmp_path):
    said = call("plan", "track-record", str(tmp_path), cwd=tmp_path)
    assert "no finished run with a forecast" in said.out
    said = call("plan", "track-record", "nowhere", cwd=tmp_path)
    assert said.status == 1, said
    assert "there is no folder nowhere" in said.err
    with pytest.raises(DataError):
        read_track_record(tmp_path / "nowhere")


def test_a_name_can_not_drive_the_terminal(tmp_path):
    write_run(tmp_path, "a\x1b[2Jb", num_steps=6)
    said = call("plan", "track-record", str(tmp_path), cwd=tmp_path)
    assert "\x1b" not in said.out
    assert json.loads(call("plan", "track-record", str(tmp_path), "--json", cwd=tmp_path).out)["runs"]
