"""What a base decides of a run: its shape and vocabulary, and how it was trained where that is known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headwater.core.errors import ConfigError
from headwater.export.base.facts import BaseFacts
from headwater.model.settings import ModelSettings
from headwater.runfile.init import base_of, kept_base, sources_replayed
from headwater.runfile.paths import Folders, write_kept
from headwater.runfile.run_config import load_run, train_plan
from headwater.train.checkpoint.layout import checkpoint_dir

SHAPE = {"num_layers": 2, "d_model": 48, "d_ff": 96, "num_heads": 3, "num_kv_heads": 3, "head_dim": 16}
MODEL = ModelSettings(family="qwen3", vocab_size=400, seq_len=128, tied_embeddings=True, **SHAPE)
OPTIM = {"name": "muon", "matrix_lr": 0.5, "embedding_lr": 0.6, "head_lr": 0.7, "vector_lr": 0.8, "weight_decay": 0.9}
TRAINED = {"optim": OPTIM, "train": {"batch_tokens": 1024}}


@pytest.fixture
def with_base(tmp_path, monkeypatch):
    """Return a function that reads a run file of few settings, from a base that was trained so."""
    monkeypatch.chdir(tmp_path)
    text = '[corpus.sources.mine]\npaths = ["t"]\n[init]\nfrom = "base"\n[train]\nnum_steps = 250\n'
    Path("mine.toml").write_text(text)

    def load(*overrides: str, trained: dict | None = None, model: ModelSettings = MODEL):
        facts = BaseFacts("base", "folder", Path("w"), Path("t"), model, 390, "digest", trained or {})
        monkeypatch.setattr("headwater.export.base.facts.facts_of", lambda path: facts)
        config, reasons = load_run("mine.toml", list(overrides))
        return config, {each.setting: each for each in reasons}

    return load


def test_a_run_has_the_shape_and_the_vocabulary_of_its_base(with_base):
    config, reasons = with_base()
    assert config.model == MODEL and config.tokenizer.vocab_size == 390
    assert "vocab" not in reasons["model.d_model"].why and "as in the base base" in reasons["model.d_model"].why
    assert train_plan(config).base == "digest"
    assert with_base("model.d_model=48", "tokenizer.vocab_size=390")[0].model == MODEL, "the same may be said"
    assert not any(each.measured for each in reasons.values()), "rules were measured from drawn weights"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("model.d_model=96", "model.d_model: 96 is set, and the base has 48"),
        ("model.seq_len=256", "model.seq_len: 256 is set, and the base has 128"),
        ("tokenizer.vocab_size=384", "tokenizer.vocab_size: 384 is set, and the base has 390"),
        ("model.sliding_window=8", "model.sliding_window: 8 is set, and the base has none"),
    ],
)
def test_another_shape_than_the_bases_is_refused(with_base, override, said):
    with pytest.raises(ConfigError, match="leave these out:\n  " + said + "$"):
        with_base(override)


def test_shorter_sequences_keep_the_positions_of_the_base(with_base):
    config, reasons = with_base("model.seq_len=64", "model.sliding_window=off")
    assert (config.model.seq_len, config.model.max_positions) == (64, 128)
    assert "made for" in reasons["model.max_positions"].why
    positions = MODEL.model_copy(update={"max_positions": 200})
    assert with_base("model.seq_len=64", model=positions)[0].model.max_positions == 200
    assert with_base()[0].model.max_positions is None


@pytest.mark.parametrize("width", [48, 80, 720])
def test_of_a_base_of_others_every_rate_is_a_fifth_of_the_peak_by_width(with_base, width):
    shape = MODEL.model_copy(update={"d_model": width})
    config, _ = with_base(model=shape)
    rate = round(0.001 * 768 / width / 5, 6)
    optim = config.optim
    assert (optim.name, optim.weight_decay, optim.block_rows) == ("adamw", 0.1, None)
    assert [optim.matrix_lr, optim.embedding_lr, optim.head_lr, optim.vector_lr] == [pytest.approx(rate)] * 4
    assert config.schedule.warmup_steps == 2, "1 % of 250 steps"
    assert config.train.half_length_fraction == 0
    assert with_base("train.num_steps=9")[0].schedule.warmup_steps == 1
    assert with_base("optim.name=muon", model=shape)[0].optim.vector_lr == 0.04


def test_a_base_of_ours_is_trained_on_as_it_was(with_base):
    config, reasons = with_base("optim.head_lr=0.01", trained=TRAINED)
    assert config.optim.model_dump() | {"head_lr": 0.7} == config.optim.model_copy(update=OPTIM).model_dump()
    assert (config.optim.head_lr, config.train.batch_tokens) == (0.01, 1024)
    assert "warmed up to again" in reasons["optim.matrix_lr"].why
    assert reasons["optim.weight_decay"].why == "as the base was trained"
    assert with_base("optim.name=muon", trained=TRAINED)[0].optim.matrix_lr == 0.5
    config, _ = with_base("optim.name=adamw", trained=TRAINED)
    assert (config.optim.name, config.optim.matrix_lr) == ("adamw", round(0.001 * 16 / 5, 6))


def test_the_facts_of_a_base_are_read_until_the_run_has_a_checkpoint(tmp_path, monkeypatch):
    folders, asked = Folders(tmp_path), []
    kept, fresh = (BaseFacts("base", "folder", Path("w"), Path("t"), MODEL, 390, digest) for digest in ("kept", "new"))
    monkeypatch.setattr("headwater.export.base.facts.facts_of", lambda path: asked.append(path) or fresh)
    assert base_of(None, folders) is None and kept_base(None, folders) is None
    assert kept_base("base", folders) == fresh
    write_kept(folders.base, kept)
    assert base_of("base", folders) == fresh and kept_base("base", folders) == kept
    checkpoint_dir(tmp_path, 1).mkdir(parents=True)
    assert base_of("base", folders) == kept and asked == ["base"] * 2
    assert base_of("another", folders) == fresh

    def refuse(path: str):
        raise ConfigError(f"{path}: there is nothing")

    monkeypatch.setattr("headwater.export.base.facts.facts_of", refuse)
    with pytest.raises(ConfigError, match=r"^init.from=another: there is nothing$"):
        base_of("another", folders)


def test_a_replay_counts_the_sources_of_the_other_run_and_of_those_before_it(tmp_path):
    own, other = Folders(tmp_path / "own"), Folders(tmp_path / "other")

    def write(path: Path, value: object) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value))

    counted = lambda: sources_replayed(own, str(other.run))  # noqa: E731
    assert counted() == (6, True), "nothing is known: as the demo has"
    sources = {"a": {"paths": ["t"]}, "b": {"builtin": "python-library"}}
    write(other.run / "config.json", {"settings": {"corpus": {"sources": sources}}})
    assert counted() == (2, False)
    sources["c"] = {"builtin": "capitals"}
    write(other.run / "config.json", {"settings": {"corpus": {"sources": sources}}})
    assert counted() == (3, True)
    del sources["c"]
    write(other.run / "config.json", {"settings": {"corpus": {"sources": sources}}})
    write(other.tokens / "manifest.json", {"replayed": {"weights": {"x": 1, "y": 1}, "synthetic": True}})
    assert counted() == (4, True)
    write(own.tokens / "manifest.json", {"replayed": {"weights": {"x": 1}, "synthetic": False}})
    assert counted() == (1, False)
