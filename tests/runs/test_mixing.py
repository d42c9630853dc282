"""The search for a mixture as its user sees it: small runs in the run's folder, a proposal, and a place to resume from."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
from pathlib import Path

import pytest
from small_run import call, prose, quick, require_clear_error, write_run_file, write_texts

from headwater.runs.mixing import MixingOptions, prepare_mixing, search_mixture
from headwater.scaling.mixture_law import MIN_RUNS

SEARCH = ["corpus", "mixture", "--search", "mine.toml", "--minutes", "0.4", "--runs", "6", "--checks", "1"]
ARGUMENTS = (*SEARCH, "--json", "--for", "cyrillic=1", "--for", "mine=0.05")
IMPORTANCE = {"cyrillic": 1.0, "mine": 0.05}
CYRILLIC = '\n[corpus.sources.cyrillic]\npaths = ["cyrillic"]\n'
LENGTH = {"train__num_steps": 252, "model__num_layers": 3, "model__d_model": 32}


def write_two_sources(folder) -> None:
    """Write a run of two sources that share no word: only its own text teaches one."""
    write_texts(folder / "texts")
    (folder / "cyrillic").mkdir()
    for number in range(30):
        words = prose(f"cyrillic {number}").lower().translate(str.maketrans("abdegilmnoprstuvy", "абдегилмнопрстувы"))
        (folder / "cyrillic" / f"{number:02d}.txt").write_text(words, encoding="utf-8")
    write_run_file(folder / "mine.toml", extra=CYRILLIC, **LENGTH)


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A folder with a run whose mixture was searched for, and what the command said."""
    folder = tmp_path_factory.mktemp("mixing")
    write_two_sources(folder)
    return folder, call(*ARGUMENTS, cwd=folder)


def measured(folder):
    return {path.parent.name: json.loads(path.read_text()) for path in folder.glob("runs/mine/mixing/*/mixture.json")}


def test_a_search_proposes_more_of_the_text_that_counts_and_checks_it(searched):
    folder, said = searched
    assert said.status == 0, said
    found = json.loads(said.out)
    assert found["proposed"]["cyrillic"] > found["own"]["cyrillic"]
    assert sum(found["proposed"].values()) == pytest.approx(1)
    assert len(found["checks"]) == 1 and found["gain"] == found["checks"][0]["gain"] > 0
    assert len(measured(folder)) == 8
    assert json.loads((folder / "runs/mine/mixing/proposal.json").read_text())["proposed"] == found["proposed"]


def test_the_small_runs_are_of_the_mixtures_that_were_chosen(searched):
    folder, _ = searched
    design = json.loads((folder / "runs/mine/mixing/design.json").read_text())
    for at, weights in enumerate(design["weights"]):
        settings = json.loads((folder / f"runs/mine/mixing/mixture-{at}/config.json").read_text())["settings"]
        assert settings["mixture"]["weights"] == dict(zip(design["sources"], weights))


def test_a_search_that_is_done_trains_nothing_and_says_the_same(searched):
    folder, said = searched
    before = {path: path.stat().st_mtime_ns for path in folder.glob("runs/mine/mixing/*/records.jsonl")}
    again = call(*ARGUMENTS, cwd=folder)
    assert json.loads(again.out) == json.loads(said.out)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_stopped_search_resumes_with_what_is_done(searched, tmp_path):
    folder, said = searched
    shutil.copytree(folder, tmp_path / "copy", symlinks=True)
    mixing = tmp_path / "copy/runs/mine/mixing"
    for name in ("mixture-4", "new-2"):
        shutil.rmtree(mixing / name)

    def stop(record):
        if record["event"] == "step" and record["step"] == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    with contextlib.chdir(tmp_path / "copy"), quick():
        prepared = prepare_mixing("mine.toml", [], MixingOptions(0.4, None, 6, 1, IMPORTANCE), lambda line: None)
        assert search_mixture(prepared, lambda config: stop, lambda line: None) is None
    assert (mixing / "mixture-4/records.jsonl").exists() and not (mixing / "mixture-4/mixture.json").exists()
    resumed = call(*ARGUMENTS, cwd=tmp_path / "copy")
    assert json.loads(resumed.out) == json.loads(said.out)


def test_rules_are_shown_side_by_side(searched):
    folder, _ = searched
    found = json.loads(call("corpus", "mixture", "mine.toml", "--json", cwd=folder).out)
    assert set(found["mixtures"]) == {"this run", "size", "temperature 2", "unimax 4"}
    for mixture in found["mixtures"].values():
        assert sum(source["share"] for source in mixture["sources"].values()) == pytest.approx(1)
    assert "cyrillic" in call("corpus", "mixture", "mine.toml", cwd=folder).out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--runs", "3"), "6 or more"),
        (("--for", "poems=2"), "no such source"),
        (("--for", "cyrillic"), "SOURCE=NUMBER"),
        (("--for", "cyrillic=0"), "no source any importance"),
        (("--minutes", "0.001"), "too few"),
        (("--minutes", "1", "--share", "1"), "not both"),
    ],
)
def test_options_that_cannot_be_are_refused(searched, arguments, says):
    folder, _ = searched
    require_clear_error(call("corpus", "mixture", "--search", "mine.toml", *arguments, cwd=folder), says)


def test_a_time_that_is_too_short_is_answered_with_one_that_is_enough(searched):
    folder, _ = searched
    given = ("corpus", "mixture", "--search", "mine.toml", "--runs", "6", "--checks", "1")
    said = call(*given, "--minutes", "0.001", cwd=folder)
    enough = re.search(r"give --minutes ([\d.]+)", said.err)
    assert enough is not None and 0.1 <= float(enough[1]) < 5, said


@pytest.mark.parametrize("minutes", ["0.1", "600"])
def test_a_run_too_short_for_small_runs_says_so_whatever_time_it_is_given(tmp_path, minutes):
    write_two_sources(tmp_path)
    write_run_file(tmp_path / "mine.toml", extra=CYRILLIC, model__num_layers=1, model__d_model=64, train__num_steps=59)
    said = call(
        "corpus", "mixture", "--search", "mine.toml", "--runs", "6", "--checks", "1", "--minutes", minutes, cwd=tmp_path
    )
    require_clear_error(said, "59 steps", "needs 60", "train.num_steps")
    assert not (tmp_path / "runs").exists(), "it is said before the work"


def test_the_help_names_the_fewest_mixtures():
    assert f"{MIN_RUNS} or more" in " ".join(call("corpus", "mixture", "--help", cwd=Path.cwd()).out.split())


def test_one_source_is_no_mixture(tmp_path):
    write_texts(tmp_path / "texts")
    write_run_file(tmp_path / "mine.toml", **LENGTH)
    require_clear_error(call("corpus", "mixture", "--search", "mine.toml", cwd=tmp_path), "one source")


def test_a_source_too_small_to_measure_is_named(tmp_path):
    write_two_sources(tmp_path)
    for path in sorted((tmp_path / "cyrillic").iterdir())[1:]:
        path.unlink()
    (tmp_path / "cyrillic" / "00.txt").write_text(" ".join(prose("few").split()[:12]), encoding="utf-8")
    require_clear_error(
        call("corpus", "mixture", "--search", "mine.toml", cwd=tmp_path), "nothing is held out of cyrillic"
    )
