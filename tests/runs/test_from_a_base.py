"""A run that starts from another run's weights, tokenizer and shape."""

from __future__ import annotations

import shutil
from contextlib import chdir
from pathlib import Path

import pytest
import torch
from small_run import quick, write_run_file, write_texts

from headwater.core.errors import CheckpointError, ConfigError
from headwater.runfile.run_config import load_run
from headwater.runs.running import replay, run
from headwater.runs.stages import write_config
from headwater.train.checkpoint.layout import MODEL, checkpoint_dir
from headwater.train.checkpoint.load import read_tensors

INIT = '[init]\nfrom = "runs/mine"\n'
FROM_A_BASE = {"schedule__warmup_steps": 0, "train__num_steps": 2, "train__save_every": 1, "train__num_probes": 1}


def write_continued(folder: Path, extra: str = INIT, **settings: object) -> Path:
    """Write on.toml, a run on other texts from the finished run of `folder`."""
    write_texts(folder / "others", num_files=12)
    path = write_run_file(folder / "on.toml", "others", extra, **(FROM_A_BASE | settings))
    lines = [
        line
        for line in path.read_text().splitlines()
        if line.split(" = ")[0] not in ("vocab_size", "num_layers", "d_model", "seq_len")
    ]
    path.write_text("\n".join(line for line in lines if line not in ("[tokenizer]", "[model]")) + "\n")
    return path


@pytest.fixture
def continued(finished_copy):
    write_continued(finished_copy)
    with chdir(finished_copy), quick():
        assert run(*load_run("on.toml")).status == "finished"
        yield finished_copy


def test_the_first_weights_are_the_base_s(finished_copy):
    """At a rate of nothing a run ends with the weights that it began with: those of the base's last checkpoint."""
    rates = {f"optim__{kind}_lr": 1e-30 for kind in ("matrix", "embedding", "head", "vector")}
    write_continued(finished_copy, **rates, optim__weight_decay=0)
    with chdir(finished_copy), quick():
        run(*load_run("on.toml"))
        base, ours = (
            read_tensors(checkpoint_dir(Path(f"runs/{name}"), step), MODEL) for name, step in (("mine", 8), ("on", 2))
        )
    assert base.keys() == ours.keys()
    assert all(torch.allclose(base[name], ours[name], rtol=0, atol=1e-12) for name in base)


def test_another_base_under_trained_weights_is_refused(continued):
    shutil.copytree("runs/mine", "runs/other")
    shutil.rmtree("runs/other/checkpoints/step-000000008")
    with pytest.raises(CheckpointError, match=r"init\.digest: was "):
        run(*load_run("on.toml", ["init.from=runs/other"]))


LAST = Path("runs/mine/checkpoints/step-000000008")


def test_a_replay_begins_where_the_run_began_though_its_base_was_trained_on(finished_copy):
    write_continued(finished_copy)
    with chdir(finished_copy), quick():
        LAST.rename("later")
        run(*load_run("on.toml"))
        Path("later").rename(LAST)
        assert replay(load_run("on.toml")[0]).difference is None


def test_a_base_that_saves_between_text_and_first_step_is_refused(finished_copy, monkeypatch):
    def written(*given):
        write_config(*given)
        Path("later").rename(LAST)

    write_continued(finished_copy)
    monkeypatch.setattr("headwater.runs.running.write_config", written)
    with chdir(finished_copy), quick():
        LAST.rename("later")
        with pytest.raises(ConfigError, match="isn't the model that this run starts from"):
            run(*load_run("on.toml"))
