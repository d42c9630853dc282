"""A run's settings as a forecast: what is counted, against what the run itself does."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from needs import needs_of
from runs_table import write_runs
from small_run import write_run_file, write_texts

from headwater.core.errors import ConfigError
from headwater.corpus.sources.settings import SourceSettings
from headwater.corpus.sources.size import source_bytes
from headwater.machine.ranks.mesh import Layout
from headwater.plan import hardware
from headwater.plan import run_plan as planning
from headwater.plan.hardware import hardware_of, work_of
from headwater.plan.run_plan import plan_run
from headwater.plan.text_size import epochs_of, usual_bytes_per_token
from headwater.plan.times import around_steps
from headwater.runfile.run_config import config_of_text, load_run
from headwater.train.settings import probe_steps, validation_steps


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_texts(tmp_path / "texts", 60)  # enough to be read once
    return load_run(str(write_run_file(tmp_path / "mine.toml")), [])[0]


def write_tokens(config, num_tokens: int) -> None:
    write_splits(config, {"mine": {"num_tokens": num_tokens}})


def write_splits(config, train: dict) -> None:
    folder = config.run_dir / "data/tokens"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps({"splits": {"train": train}}))


OWN, ALMANAC = 'paths = ["nowhere"]\n', 'kind = "almanac"\nbuiltin = "almanac"\n'


@given(
    num_steps=st.integers(1, 10**6),
    rows=st.integers(1, 64),
    sources=st.lists(st.sampled_from([OWN, ALMANAC]), min_size=1, max_size=8),
)
@example(num_steps=100, rows=8, sources=[OWN])
@example(num_steps=23, rows=64, sources=[OWN])
@example(num_steps=2228, rows=1, sources=[ALMANAC])
def test_what_comes_between_steps_takes_a_fifth_of_their_time_or_comes_at_the_end_alone(num_steps, rows, sources):
    corpus = "".join(f"[corpus.sources.s{number}]\n{source}" for number, source in enumerate(sources))
    sizes = f"[train]\nnum_steps = {num_steps}\nbatch_tokens = {256 * rows}\n[model]\nnum_layers = 4\nseq_len = 256\n"
    config = config_of_text(f"{corpus}[tokenizer]\n{sizes}")
    probed, validated = probe_steps(config.train), validation_steps(config.train)
    assert 1 <= len(probed) <= 9 and probed[-1] == validated[-1] == num_steps
    assert len(validated) <= 23 + 9  # of 23 steps every one, as a twelfth is less than two
    around = around_steps(config, 1.0)
    probes, validations = around["probes"].median / num_steps, around["validations"].median / num_steps
    assert probes + validations <= 0.2 or probed == validated == [num_steps]
    if 9 / len(probed) * probes + validations < 0.1 and num_steps >= 1000:  # there is time for all
        assert (len(probed), config.train.validate_every) == (9, num_steps // 12)


def test_epochs_are_those_of_the_built_text(config):
    before, num_bytes = epochs_of(config).most, sum(path.stat().st_size for path in Path("texts").iterdir())
    assert before == pytest.approx(24 * 512 / (num_bytes / usual_bytes_per_token(384)), rel=0.1)
    write_tokens(config, 24 * 512 // 4)
    assert epochs_of(config).most == pytest.approx(4, rel=0.1)
    assert epochs_of(config).overall == pytest.approx(4, rel=0.1)
    assert plan_run(config)["counts"]["epochs"] == pytest.approx(4, rel=0.1)


def a_table(folder):
    return write_runs(folder / "runs.csv", product((1e4, 3e4, 1e5), (4e3, 1e4, 3e4)))


def test_text_read_far_more_often_than_was_measured_gets_no_loss(config, tmp_path):
    write_tokens(config, 640)
    plan = plan_run(config, runs=a_table(tmp_path))
    assert plan["loss"] is None
    assert "measured to 16 epochs" in plan["loss_refused"]


def test_a_gpu_at_hand_is_planned_by_its_data_sheet(monkeypatch):
    monkeypatch.setattr(hardware, "gpu_name", lambda: "NVIDIA H100 80GB HBM3")
    config, _ = load_run("gpt2-124m", [])
    devices = hardware_of(config).devices
    assert "H100-SXM" in needs_of(config).step_how
    assert devices.memory_limit == 85e9
    assert devices.usd_per_hour.median > 0
    assert work_of(config, Layout()).microbatch_tokens <= config.train.batch_tokens


@pytest.mark.parametrize(
    ("gpu", "device", "says"),
    [
        ("NVIDIA GeForce RTX 4090", "auto", r"NVIDIA GeForce RTX 4090.* machine\.device=cpu"),
        (None, "cuda", "no GPU is found here"),
    ],
)
def test_a_gpu_that_is_not_there_or_outside_the_table_is_said_with_what_to_do(monkeypatch, gpu, device, says):
    monkeypatch.setattr(hardware, "gpu_name", lambda: gpu)
    config, _ = load_run("gpt2-124m", [f"machine.device={device}"])
    with pytest.raises(ConfigError, match=says):
        needs_of(config)


def test_other_programs_on_the_cores_are_said_and_the_figure_kept(config, monkeypatch):
    monkeypatch.setattr(hardware, "float32_rate_per_core", lambda: 1e11)
    found = []
    for note in (None, "Other processes use 1.9 of the 2 CPUs"):
        monkeypatch.setattr(planning, "busy_now", lambda meter=None, note=note: note)
        found.append(plan_run(config))
    (note,) = found[0]["notes"]
    assert note.startswith("the text isn't built")
    assert "1.9 of the 2 CPUs. The forecast assumes an idle machine" in found[1]["notes"][-1]
    assert found[0]["hours"] == pytest.approx(found[1]["hours"], rel=1e-6)


def of_source(**changed):
    """Return the run with other settings of its source."""
    return load_run(
        "mine.toml", [f"corpus.sources.mine.{name}={json.dumps(value)}" for name, value in changed.items()]
    )[0]


def test_text_that_is_not_there_is_said(config):
    config = of_source(paths=["texts", "tekst"])
    (missing,) = plan_run(config)["missing_text"]
    assert missing.startswith("source 'mine': no file with text can be read at 'tekst'")
    write_tokens(config, 5000)  # built: what it was built from isn't needed, and filters have been
    plan = plan_run(config)
    assert not plan["missing_text"] and not any("isn't built" in note for note in plan["notes"])


def test_the_bytes_of_a_source_are_those_of_the_files_that_a_corpus_reads(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.txt").write_text("linked")
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "b.txt").write_text("beside")
    (folder / ".hidden.txt").write_text("not read")
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    assert source_bytes(SourceSettings(paths=[str(folder), str(folder / "*.txt")])) == len("linked" + "beside")
    assert source_bytes(SourceSettings(paths=[str(tmp_path / "nowhere")])) is None
