"""The part of the page that compares stages is that of knowledge.json, and absent without it."""

from __future__ import annotations

import copy

import pytest
from fake_run import json_file, write_run
from read_page import read_page

from headwater.page.report.page import render_report

KNOWLEDGE = {
    "stages": [
        {"run": "first-light", "stage": "base", "bits_per_byte": 1.41},
        {"run": "chat", "stage": "tuned", "bits_per_byte": None},
    ],
    "table": [
        {
            "measure": "known facts never named, new phrasings",
            "values": [None, {"value": 0.878, "low": 0.83, "high": 0.91, "num": 279}],
        },
        {"measure": "known facts as prose", "values": [{"value": 0.995, "low": 0.97, "high": 1.0, "num": 185}] * 2},
    ],
}


@pytest.fixture
def run_dir(tmp_path):
    return write_run(tmp_path, num_steps=10)


def test_a_run_that_was_not_examined_has_no_such_part(run_dir):
    assert "What each stage changed" not in read_page(render_report(run_dir)).text


def test_the_table_shows_the_figures(run_dir):
    json_file(run_dir / "knowledge.json", KNOWLEDGE)
    page = read_page(render_report(run_dir))
    for words in ("What each stage changed", "tuned: chat", "87.8 %", "(83–91, 279)", "1.410"):
        assert words in page.text, words


def test_what_the_file_says_is_shown_as_text_and_nonsense_in_it_breaks_nothing(run_dir):
    hostile = copy.deepcopy(KNOWLEDGE)
    hostile["stages"][1]["run"] = "<script>window.hacked=1</script>"
    hostile["table"][0]["values"] = "none"
    hostile["table"] += [{"measure": None, "values": [{"value": "x"}]}, 3]
    json_file(run_dir / "knowledge.json", hostile)
    path = render_report(run_dir)
    assert "<script>window.hacked" not in path.read_text()
    assert "window.hacked=1" in read_page(path).text
