"""What a run file asks for by `[downstream]`: the same by the command and from Python, and refused before training."""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from small_run import call, final_weights, measured, quick, write_run_file, write_texts

import headwater
from headwater.core.errors import ConfigError, HeadwaterError
from headwater.core.files import read_json, write_json
from headwater.runfile.run_config import DownstreamSettings, InitSettings, config_of_run
from headwater.runs.downstream import require_alignable
from headwater.train.checkpoint.origins import KEPT, Origin

TALKS = '[corpus.sources.talks]\nkind = "conversations"\npaths = ["talks.jsonl"]\n'
FEW = {"ANSWER_TOKENS": 3, "PROSE_TOKENS": 2, "split_countries": None}


def write_inputs(folder: Path, num_prompts: int = 10) -> None:
    write_texts(folder / "texts", 12)
    said = [[{"role": "user", "content": f"{n}?"}, {"role": "assistant", "content": "It is."}] for n in range(80)]
    write_lines(folder / "talks.jsonl", *({"messages": messages} for messages in said))
    write_lines(folder / "prompts.jsonl", *({"prompt": f"{n}?", "answer": "It is."} for n in range(num_prompts)))


def write_lines(path: Path, *values: object) -> None:
    path.write_text("\n".join(map(json.dumps, values)))


def write_file(folder: Path, name: str = "mine", talks: str = TALKS, downstream: str = "", **changed: int) -> None:
    following = f'[downstream]\nprompts = "prompts.jsonl"\n{downstream}'
    few = {"train__num_steps": 4, "train__num_probes": 1, "train__save_every": 2, "train__half_length_fraction": 0.0}
    write_run_file(folder / f"{name}.toml", extra=f"{talks}\n{following}", **few | changed)


@pytest.fixture
def little_is_asked():
    """Of every group of countries two are asked, with short answers; every answer is worth 1."""
    from headwater.corpus.samples.almanac.questions import QuestionSplit, split_countries

    def two_of_each(seed: int = 0) -> QuestionSplit:
        return QuestionSplit(*(getattr(split_countries(seed), name)[:2] for name in QuestionSplit.__dataclass_fields__))

    with contextlib.ExitStack() as stack:
        for name, few in FEW.items():
            stack.enter_context(mock.patch(f"headwater.downstream.samples.{name}", few or two_of_each))
        stack.enter_context(mock.patch("headwater.downstream.rl.RewardTask.worth", lambda self, question, sample: 1.0))
        yield


def made(folder: Path, name: str) -> dict[str, object]:
    """Return what both runs of a folder hold, without the clock: names of files, weights, measurements, findings.

    The corpus' work is left out: its names are keys of when each file was written.
    """
    run, aligned = folder / "runs" / name, folder / "runs" / f"{name}-rl"
    files = (str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    names = {name for name in files if "/.corpus-work/" not in name}
    of_runs = [(final_weights(each), measured(run)) for each in (run, aligned)]
    return {
        "names": names,
        "runs": of_runs,
        "kept": [read_json(aligned / "rl.json"), read_json(run / "knowledge.json")],
    }


@settings(
    max_examples=1, phases=[Phase.generate], deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
@given(
    st.from_regex(r"[a-z][a-z0-9._-]{0,12}[a-z]", fullmatch=True),
    st.integers(1, 7),
    st.integers(1, 3),
    st.integers(8, 20),
)
def test_a_run_file_gives_the_same_by_the_command_and_from_python(
    tmp_path_factory, little_is_asked, name, num_steps, num_updates, num_prompts
):
    assume(num_steps > 1)  # the simplest example is tried first: so the one that is tried is drawn
    found = []
    for door in ("command", "python"):
        folder = tmp_path_factory.mktemp(door)
        write_inputs(folder, num_prompts)
        write_file(folder, name, downstream=f"num_steps = {num_updates}", train__num_steps=num_steps)
        if door == "command":
            said = call("run", f"{name}.toml", cwd=folder)
            assert said.status == 0 and f"talk to it: `headwater chat --run runs/{name}-rl`" in said.out, said
        else:
            with contextlib.chdir(folder), quick():
                result = headwater.run(f"{name}.toml", say=lambda line: None)
            assert result.status == "finished" and result.aligned.rewards.num_steps == num_updates
            assert [stage.run for stage in result.aligned.stages.stages] == [name, f"{name}-rl"]
        found.append(made(folder, name))
    assert found[0] == found[1]
    report = folder / "runs" / name / "report.html"
    assert "What each stage changed" in report.read_text()
    before = report.stat().st_mtime_ns
    # no weights are examined twice
    with contextlib.chdir(folder), quick(), mock.patch("headwater.runs.downstream.examine", None):
        headwater.run(f"{name}.toml", say=lambda line: None)
        assert report.stat().st_mtime_ns == before, "nothing has changed that it shows"
        headwater.run(f"{name}.toml", say=lambda line: None, train={"log_every": 7})
        assert report.stat().st_mtime_ns > before, "it shows the settings"
        with mock.patch("headwater.downstream.rl.Reinforcement.run", lambda *_: None):  # as a signal stops it
            assert headwater.run(f"{name}.toml", say=lambda line: None).status == "stopped"
        with pytest.raises(HeadwaterError, match="to have it made again"):
            headwater.run(f"{name}.toml", say=lambda line: None, train={"num_steps": num_steps + 1})
    assert len(list((folder / "runs" / name / "checkpoints").glob(f"step-*{num_steps + 1}"))) == 0


def another_run(folder: Path) -> None:
    write_json(folder / "runs/mine-rl/config.json", {"settings": {}, "reasons": []})


def no_answers(folder: Path) -> None:
    write_lines(folder / "prompts.jsonl", *({"prompt": f"{n}?"} for n in range(20)))


def long_prompt(folder: Path) -> None:
    write_lines(folder / "prompts.jsonl", *({"prompt": f"It is {n}. " * 40, "answer": "."} for n in range(20)))


@pytest.mark.parametrize(
    ("change", "file", "message"),
    [
        (None, {"downstream": 'reward = "exacly"'}, "there is no reward 'exacly'"),
        (None, {"downstream": 'reward = "texts"'}, "there is no reward 'texts'"),
        (None, {"talks": ""}, "aligns a model that answers"),
        (None, {"name": "m" * 98}, "a name that can't be"),
        (lambda folder: (folder / "prompts.jsonl").unlink(), {}, "prompts.jsonl can't be read"),
        (lambda folder: (folder / "prompts.jsonl").write_text('{"prompt": "0?"}'), {}, "1 prompts are too few"),
        (no_answers, {}, "the reward exact needs one"),
        (long_prompt, {}, "that the model sees"),
        (another_run, {}, "mine-rl"),
    ],
)
def test_what_cannot_be_aligned_is_refused_before_any_training(tmp_path, change, file, message):
    write_inputs(tmp_path)
    write_file(tmp_path, **file)
    if change is not None:
        change(tmp_path)
    name = file.get("name", "mine")
    with contextlib.chdir(tmp_path), pytest.raises(HeadwaterError, match=message):
        headwater.run(f"{name}.toml", say=lambda line: None)
    assert (tmp_path / "runs" / name / "data").exists() == (change is long_prompt), "a tokenizer says what is too long"
    assert not (tmp_path / "runs" / name / "records.jsonl").exists()


@pytest.mark.parametrize(
    ("name", "origin", "message"),
    [
        ("mine", Origin("base", "tuned", num_examples=3), "each stage is named once; found mine, mine, mine-rl"),
        ("more", Origin("base", "scratch"), "aligns a model that answers"),
        ("more", Origin("base", "scratch", num_examples=3), None),
        ("more", Origin("theirs", "others"), "aligns a model that answers"),
        ("more", Origin("theirs", "others", answers=True), None),
        ("more", Origin("base", "unknown"), None),
    ],
)
def test_a_base_counts_as_tuned_if_it_was_or_may_have_been(finished, tmp_path, monkeypatch, name, origin, message):
    write_inputs(tmp_path)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished.run_dir, "runs/mine")
    write_json(Path("runs/mine") / KEPT, {"origins": [asdict(origin)]})
    asked = {"name": name, "runs_dir": "elsewhere"}
    asked |= {
        "init": InitSettings.model_validate({"from": "runs/mine"}),
        "downstream": DownstreamSettings(prompts="prompts.jsonl"),
    }
    config = config_of_run(Path("runs/mine")).model_copy(update=asked)
    with pytest.raises(ConfigError, match=message) if message else contextlib.nullcontext():
        require_alignable(config)
