"""The sizes that `new` chooses fit the text and the time, and the file it writes runs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_run import call, prose

from headwater.errors import DataError
from headwater.runs.new import (
    MIN_STEPS,
    TimeEstimate,
    choose_sizes,
    estimate_time,
    with_steps,
    write_run_file,
)
from headwater.runs.run_config import load_run
from headwater.runs.text_size import notes_of_memorising, usual_bytes_per_token
from headwater.scaling.repetition import MAX_EPOCHS_TRIED

HERE = TimeEstimate(step=0.1, rest=3.0)


@given(st.integers(1000, 10**12), st.floats(0.01, 10_000))
def test_sizes_are_ones_that_a_run_can_have(num_bytes, minutes):
    sizes = with_steps(choose_sizes(num_bytes), num_bytes, 60 * minutes, HERE)
    assert 288 <= sizes.vocab_size <= 8192
    assert sizes.batch_tokens % sizes.seq_len == 0
    assert sizes.num_steps >= MIN_STEPS
    assert sizes.d_model % 64 == 0


@given(st.integers(100_000, 10**10), st.floats(0.1, 1000))
def test_no_text_is_seen_more_often_than_makes_sense(num_bytes, minutes):
    sizes = with_steps(choose_sizes(num_bytes), num_bytes, 60 * minutes, HERE)
    if sizes.num_steps > MIN_STEPS:
        assert sizes.num_steps * sizes.batch_tokens <= MAX_EPOCHS_TRIED * num_bytes / 1.5


@pytest.mark.parametrize(
    ("num_bytes", "least", "most"),
    # measured: 0.14 MB was best at 3.4 of 1.7, 3.4 and 5 epochs, 0.37 MB at 2.4 and 3.7, 1.2 MB at 1.4 and 2.9
    [(143_000, 2.5, 4.5), (370_000, 2, 4), (1_210_000, 1.4, 2.9), (100_000_000, 4, 8)],
)
def test_epochs_are_about_those_that_were_best(num_bytes, least, most):
    sizes = with_steps(choose_sizes(num_bytes), num_bytes, 1e9, HERE)
    tokens = num_bytes / usual_bytes_per_token(sizes.vocab_size)
    assert least <= sizes.num_steps * sizes.batch_tokens / tokens <= most


@given(st.integers(10**9, 10**10), st.floats(1, 100))
def test_steps_are_those_that_the_time_allows(num_bytes, minutes):
    sizes = with_steps(choose_sizes(num_bytes), num_bytes, 60 * minutes, HERE)
    assert HERE.rest + sizes.num_steps * HERE.step == pytest.approx(60 * minutes, abs=HERE.step)


def test_a_run_file_takes_the_minutes_that_the_plan_of_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text(prose(1, 200_000))
    write_run_file(tmp_path / "mine.toml", "mine", ["text.txt"], 1.0, lambda line: None)
    said = estimate_time(load_run("mine.toml", [])[0])
    num_steps = load_run("mine.toml", [])[0].train.num_steps
    assert num_steps > MIN_STEPS
    assert said.rest + num_steps * said.step == pytest.approx(60, rel=0.5)  # measured twice, on a machine that drifts


@pytest.mark.parametrize("num_bytes", [1200, 3000, 10_000, 100_000])
def test_a_run_file_for_little_text_runs(tmp_path, num_bytes):
    (tmp_path / "text.txt").write_text(prose(1, 2000)[:num_bytes])
    said = call("new", "mine", "--text", "text.txt", "--minutes", "0.01", cwd=tmp_path)
    assert said.status == 0, said
    one_step = ("train.num_steps=1", "machine.compile=off", "machine.num_threads=1", "machine.dtype=float32")
    said = call("run", "mine.toml", *one_step, cwd=tmp_path)
    assert said.status == 0, said


def test_several_files_and_folders_make_one_source(tmp_path, monkeypatch):
    for name in ("a.txt", "b.md", "folder/c.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(prose(name))
    said = call("new", "my-text", "--text", "a.txt", "--text", "b.md", "folder", cwd=tmp_path)
    assert said.status == 0, said
    assert "found 3 files" in said.out
    monkeypatch.chdir(tmp_path)
    config, _ = load_run("my-text.toml", [])
    ((name, source),) = config.corpus.sources.items()
    assert (name, source.paths) == ("my_text", ["a.txt", "b.md", "folder"])


def test_the_file_says_that_minutes_are_no_limit(tmp_path):
    (tmp_path / "text.txt").write_text(prose(1, 200))
    assert call("new", "mine", "--text", "text.txt", "--minutes", "2.5", cwd=tmp_path).status == 0
    comment = " ".join(line[2:] for line in (tmp_path / "mine.toml").read_text().splitlines() if line.startswith("# "))
    assert "an estimate for --minutes 2.5 on the machine that wrote this, not a limit" in comment
    assert "headwater plan mine.toml" in comment


def test_every_size_in_the_file_is_the_users_to_change(tmp_path, monkeypatch):
    (tmp_path / "text.txt").write_text(prose(1, 200))
    assert call("new", "mine", "--text", "text.txt", cwd=tmp_path).status == 0
    monkeypatch.chdir(tmp_path)
    _, reasons = load_run("mine.toml", [])
    users = {reason.setting for reason in reasons if reason.origin == "user"}
    assert {
        "tokenizer.vocab_size",
        "model.num_layers",
        "model.d_model",
        "train.num_steps",
        "train.batch_tokens",
    } <= users


def test_text_that_may_not_be_read_is_not_said_to_be_of_a_wrong_form(tmp_path, forbid):
    (tmp_path / "texts").mkdir()
    forbid(tmp_path / "texts")
    with pytest.raises(DataError, match="permission denied for 1 of what lies there"):
        write_run_file(tmp_path / "mine.toml", "mine", [str(tmp_path / "texts")], 5, lambda line: None)
    assert not (tmp_path / "mine.toml").exists()


def test_a_tree_of_pages_names_the_kind_for_them(tmp_path):
    (tmp_path / "site").mkdir()
    for name in ("a.html", "b.htm"):
        (tmp_path / "site" / name).write_text(f"<html><body><p>{prose(name)}</p></body></html>")
    said = call("new", "mine", "--text", "site", cwd=tmp_path)
    assert 'kind = "web" cuts boilerplate' in said.out + said.err
    assert 'kind = "text"  # most files are HTML: kind = "web"' in (tmp_path / "mine.toml").read_text()


@pytest.mark.parametrize("num_sentences", [200, 2000, 20_000])
def test_run_has_no_warning_about_the_epochs_that_new_chose(tmp_path, monkeypatch, num_sentences):
    """New chose 3.5 epochs to have 200 steps, and the run warned of them: best were 2.0."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text(prose(1, num_sentences))
    write_run_file(tmp_path / "mine.toml", "mine", ["text.txt"], 100.0, lambda line: None)
    config = load_run("mine.toml", [])[0]
    assert notes_of_memorising(config) == []
    longer = config.model_copy(
        update={"train": config.train.model_copy(update={"num_steps": 3 * config.train.num_steps})}
    )
    assert "memorises" in notes_of_memorising(longer)[0]
