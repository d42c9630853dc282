"""A model that exists is trained on: where it begins, what is measured, kept and refused, old text read again."""

from __future__ import annotations

import inspect
import json
import shutil
import textwrap
import tomllib
from contextlib import chdir
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from small_run import call, final_weights, measured, quick, write_run_file, write_texts

import headwater
from headwater.core.config import to_toml
from headwater.core.errors import CheckpointError, ConfigError, StoreError
from headwater.core.files import read_json
from headwater.core.records import read_records
from headwater.corpus.sources.settings import CorpusSettings
from headwater.plan.text_size import epochs_of
from headwater.plan.times import around_steps
from headwater.runfile.paths import Folders, stage_digest
from headwater.runfile.run_config import config_of_text, load_run
from headwater.runs.library.shift import corpus_like
from headwater.runs.measures import since_base
from headwater.runs.run_data import read_run
from headwater.runs.running import run
from headwater.runs.stages import data_card_of_run, open_batches, open_held_out, write_config
from headwater.train.checkpoint.layout import MODEL, checkpoint_dir
from headwater.train.checkpoint.load import read_tensors

ON = """\
name = "on"
[init]
from = "runs/mine"
[replay]
run = "runs/mine"
share = 0.25
[corpus.sources.other]
paths = ["others"]
[train]
num_steps = 8
save_every = 3
validate_every = 4
validation_sequences = 4
num_probes = 0
[machine]
dtype = "float32"
compile = "off"
num_threads = 1
"""


def silent(line: object) -> None:
    pass


@pytest.fixture(scope="module")
def trained_on(finished_run, tmp_path_factory) -> Path:
    folder = Path(shutil.copytree(finished_run, tmp_path_factory.mktemp("on") / "here"))
    write_texts(folder / "others", num_files=26)
    for path in sorted((folder / "others").glob("*.txt"))[:20]:
        path.unlink()  # those that the base has read
    sources = sorted(inspect.getsource(module) for module in (json, textwrap, inspect, tomllib, shutil))
    for number, text in enumerate(sources):
        (folder / "others" / f"source-{number}.txt").write_text(text)
    (folder / "on.toml").write_text(ON)
    with chdir(folder), quick():
        assert headwater.run("on.toml", say=silent).status == "finished"
    return folder


def test_the_old_text_has_its_share_and_its_splits(trained_on):
    with chdir(trained_on):
        config, base = load_run("on.toml")[0], load_run("runs/mine")[0]
        batches, held_out = open_batches(config), open_held_out(config)
        assert batches.plan.shares(1000) == {"other": 0.75, "replay-mine": 0.25}
        assert held_out["replay-mine"].digest == open_held_out(base)["mine"].digest
        assert batches.packed("replay-mine").digest == open_batches(base).packed("mine").digest
        planned, actual = epochs_of(config).by_source, batches.plan.epochs(config.num_rows)
        assert planned == {"other": pytest.approx(actual["other"], rel=0.1)}
        card = data_card_of_run(config)
        assert card is not None and card["digests"]["replayed tokens"] == stage_digest(Folders(base.run_dir).tokens)
    assert (
        "The other 25.0% are text of a model before it" in (trained_on / "runs/on/export/hf/DATA_CARD.md").read_text()
    )
    assert not (trained_on / "runs/on/data/tokens/train/replay-mine/00000.bin").is_symlink()


def test_the_base_is_measured_before_the_first_step_on_new_and_old_text(trained_on):
    first, *_, last = read_records(trained_on / "runs/on/records.jsonl", "validation")
    assert (first["step"], last["step"]) == (0, 8)
    assert set(first["bits_per_byte"]) == {"all", "other", "replay-mine"}
    new, old = since_base(read_run(trained_on / "runs/on"))
    assert (new.source, new.is_old, old.source, old.is_old) == ("other", False, "replay-mine", True)
    assert new.now < new.base, "nothing was learned"
    assert "New and old text" in (trained_on / "runs/on/report.html").read_text()


def test_what_is_measured_of_replayed_text_is_counted_and_is_the_same_once_its_run_is_gone(trained_on, tmp_path):
    folder = Path(shutil.copytree(trained_on, tmp_path / "again"))
    text = ON.replace("validate_every = 4\n", "").replace("num_probes = 0\n", "")
    (folder / "on.toml").write_text(text)
    with chdir(folder):
        one = load_run("on.toml", ["train.num_steps=3000"])[0]
        expected = around_steps(one, 1.0)  # of the text as built
        shutil.move("runs/on", "runs/begun")
        plan = load_run("on.toml", ["train.num_steps=3000"])[0]
        assert plan.train == one.train and around_steps(plan, 1.0)["probes"] == expected["probes"]
        assert around_steps(plan, 1.0)["validations"].median == pytest.approx(expected["validations"].median, rel=0.5)
        shutil.move("runs/begun", "runs/on")
        shutil.rmtree("runs/mine")
        assert load_run("on.toml", ["train.num_steps=3000"])[0].train == one.train


def test_stopped_and_without_its_base_it_ends_with_the_same_bits(trained_on, tmp_path):
    folder = Path(shutil.copytree(trained_on, tmp_path / "again"))
    shutil.rmtree(folder / "runs/on")

    class Killed(BaseException):
        pass

    def kill(record: dict) -> None:
        if record["event"] == "step" and record["step"] == 5:
            raise Killed

    with chdir(folder), quick():
        with pytest.raises(Killed):
            run(*load_run("on.toml"), make_display=lambda config: kill, say=silent)
        shutil.rmtree("runs/mine")  # base and old text
        assert headwater.run("on.toml", say=silent).status == "finished"
    assert final_weights(folder / "runs/on") == final_weights(trained_on / "runs/on")
    assert measured(folder / "runs/on") == measured(trained_on / "runs/on")


# ---- headwater new --base


def new_from_base(folder: Path, texts: str) -> tuple[str, dict]:
    said = call("new", "next", "--base", "runs/mine", "--text", texts, "--minutes", "0.01", cwd=folder)
    assert said.status == 0, said
    text = (folder / "next.toml").read_text()
    with chdir(folder):
        load_run("next.toml")
    return text + said.out, tomllib.loads(text)


def test_new_for_text_that_is_far_replays_more_and_warms_the_rates_up(finished_copy, trained_on):
    shutil.copytree(trained_on / "others", finished_copy / "others")
    text, file = new_from_base(finished_copy, "others")
    assert file["init"] == {"from": "runs/mine"}
    assert file["replay"] == {"run": "runs/mine", "share": 0.25}
    assert "optim" not in file and "schedule" not in file
    assert "bits for a byte of this text" in text and "warmed up to the base's peak" in text


def test_new_for_text_like_the_base_s_begins_at_its_last_rates(finished_copy):
    text, file = new_from_base(finished_copy, "texts")
    assert file["replay"]["share"] == 0.05
    assert file["schedule"] == {"name": "cosine", "final_fraction": 0.01}
    base = read_json(finished_copy / "runs/mine/config.json")["settings"]["optim"]
    assert file["optim"]["matrix_lr"] == pytest.approx(0.25 * base["matrix_lr"], rel=1e-3)  # the last of 8 steps
    assert "at 0.1 of its peak at least" in text


SMALL = "[model]\nnum_layers = 2\nseq_len = 64\n[tokenizer]\n[train]\nnum_steps = 9\n"
OTHER = {
    "validation_fraction": 0.1,
    "max_document_characters": 5000,
    "max_line_bytes": 1000,
    "max_file_bytes": 2000,
    "shard_bytes": 3000,
    "fetched_dir": 'there \x7f"',
    "task_bytes": 4000,
    "languages": ["en", "de"],
    "min_language_confidence": 1e-5,
    "rules": {"web": {"cut_notices": None, "min_words": None}, "text": {"max_top_ngram_fractions": [0.5, 0.25, 0.125]}},
    "boilerplate": None,
    "decontaminate": {"sets": {"own_set": ["a/*.jsonl", "ü"]}, "min_words": 3},
    "redact": {},
    "licences": {"allow": ["permissive", "PD"]},
    "measures": {
        "shouting": {"class": "/mine.py:Shouting"},
        "good": {"class": "transformers", "model": "/m", "label": "good", "kinds": ["web"], "gpus": 0.5},
    },
    "formats": {"log": {"class": "/mine.py:Log"}},
    "limits": {"web": {"words": {"min": 5.5}}},
    "blocked_hosts": ["hosts.txt"],
    "blocked_urls": ["urls.txt"],
    "withhold": ["the answer is [0-9]+"],
    "dedup": {"exact": False, "near_exempt_kinds": [], "earlier": ["runs/own"]},
    "seed": 7,
    "engine": {"name": "slurm", "slurm_options": ["--partition=cpu"]},
}


@given(st.sets(st.sampled_from([*OTHER])))
@example({"redact", "languages"})
@example({*OTHER})
def test_every_setting_of_the_corpus_but_its_sources_is_carried_over(names):
    assert {*OTHER} | {"sources"} == {*CorpusSettings.model_fields}, "a setting without a case here"
    base = CorpusSettings.model_validate(
        {"sources": {"a": {"paths": ["old"]}}, **{name: OTHER[name] for name in names}}
    )
    text = to_toml(corpus_like(SimpleNamespace(corpus=base)), "corpus") + '[corpus.sources.b]\npaths = ["new"]\n'
    found = config_of_text(text + SMALL).corpus
    assert found.model_copy(update={"sources": base.sources}) == base
    assert set(tomllib.loads(text)["corpus"]) == names | {"sources"}


def test_new_from_a_public_model_has_no_old_text_and_low_rates(finished_copy):
    """The run's own export stands for one: a folder of Hugging Face, of which nothing says how it was trained."""
    shutil.move(finished_copy / "runs/mine/export/hf", finished_copy / "public")
    said = call("new", "next", "--base", "public", "--text", "texts", "--minutes", "0.01", cwd=finished_copy)
    assert said.status == 0 and "its own text isn't here" in said.out, said
    assert "carried over" not in said.out
    assert "replay" not in tomllib.loads((finished_copy / "next.toml").read_text())
    with chdir(finished_copy):
        config, reasons = load_run("next.toml")
    optim = config.optim
    assert (optim.name, len({optim.matrix_lr, optim.embedding_lr, optim.head_lr, optim.vector_lr})) == ("adamw", 1)
    assert optim.matrix_lr == pytest.approx(1e-3 / (config.model.d_model / 768) / 5)
    assert "arXiv:2502.16982" in {reason.setting: reason.why for reason in reasons}["optim.name"]


def test_text_of_another_tokenizer_is_not_replayed(trained_on, tmp_path):
    folder = Path(shutil.copytree(trained_on, tmp_path / "here", ignore=shutil.ignore_patterns("on")))
    write_run_file(folder / "third.toml", texts="others", tokenizer__vocab_size=400, train__num_steps=1)
    with chdir(folder), quick():
        run(*load_run("third.toml"), say=silent)
        with pytest.raises(StoreError, match="is of another tokenizer"):
            run(*load_run("on.toml", ["replay.run=runs/third"]), say=silent)


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
