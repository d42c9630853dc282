"""What spans several tables of a run file is checked when the file is read, and said of the right setting.

And which run a name is: a recipe, a file, a folder, or none, with what to type instead.
"""

from __future__ import annotations

import json
import re

import pytest
from small_run import SMALL, write_run_file

from headwater.core.errors import ConfigError
from headwater.runfile.run_config import (
    config_of_run,
    config_of_text,
    config_record,
    load_run,
    made_for,
    run_folder,
    train_plan,
    with_values,
)

STAGE = "mixture.stages=[{start=0.8, weights={%s}}]"
TWO_SOURCES = 'corpus.sources={mine={paths=["texts"]}, books={paths=["books"]}}'


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_run_file(tmp_path / "mine.toml")
    return tmp_path


def refusal(*overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_run("mine.toml", list(overrides))
    return str(caught.value)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("mixture.weights={mine=1}", "  mixture.weights has no weight for books; give each one (0 excludes it)"),
        ("mixture.weights={mine=1, books=1, nope=1}", "  mixture.weights names nope; sources: books, mine"),
        (STAGE % "mine=1", "  mixture.stages[0].weights has no weight for books; give each one (0 excludes it)"),
        (STAGE % "mine=1, books=0, nope=1", "  mixture.stages[0].weights names nope; sources: books, mine"),
        ("mixture.max_epochs_by_source={nope=1}", "  mixture.max_epochs_by_source names nope; sources: books, mine"),
    ],
)
def test_a_mixture_that_does_not_fit_the_sources_is_refused_with_its_setting_and_place(folder, override, said):
    problem = refusal(TWO_SOURCES, override).splitlines()
    assert problem[1] == said, "\n".join(problem)
    assert problem[2] == f"      set in command line ({override})"


def test_a_mixture_of_every_source_and_stages_is_accepted(folder):
    config, _ = load_run("mine.toml", [TWO_SOURCES, "mixture.weights={mine=1, books=2}", STAGE % "mine=1, books=0"])
    assert config.mixture.stages[0].weights == {"mine": 1, "books": 0}


REFUSED = [  # settings, and what is said of them; where they end on the right side of the limit
    ("model.vocab_size=383", "model.vocab_size=383 must equal tokenizer.vocab_size=384", "model.vocab_size=384"),
    ("model.vocab_size=385", "model.vocab_size=385 must equal tokenizer.vocab_size=384", "model.vocab_size=384"),
    ("model.seq_len=63 train.batch_tokens=504 train.half_length_fraction=0.5", "model.seq_len=63 is odd", "train.half_length_fraction=0"),
    ("schedule.warmup_steps=25", "warmup_steps=25 is longer than the run; train.num_steps=24", "schedule.warmup_steps=24"),
    ("train.batch_tokens=500", "multiple of model.seq_len=64; try 512\n.*set in command line", "train.batch_tokens=512"),
    ("train.batch_tokens=31", "multiple of model.seq_len=64; try 64", "train.batch_tokens=64"),
    ("train.microbatch_tokens=80 train.batch_tokens=1280", "multiple of model.seq_len=64; try 64", "train.microbatch_tokens=64"),
    (
        "train.exact=true machine.dtype=auto train.microbatch_tokens=auto",
        "and train.microbatch_tokens and machine.dtype = auto is decided .* to a number and machine.dtype to float32",
        "machine.dtype=float32 train.microbatch_tokens=64",
    ),
    ("train.exact=true machine.dtype=auto", "and machine.dtype = auto .*set machine.dtype to float32", "machine.dtype=int8"),
    ("name=.hidden", "a run's name has letters", "name=h.i-d_d3n"),
    (f"name={'x' * 101}", "a run's name has letters", f"name={'x' * 100}"),
    (
        'replay={run="r",share=0.1} corpus.sources={replay-a={paths=["t"]},replay-b={paths=["t"]},c={paths=["t"]}}',
        "rename replay-a, replay-b",
        'corpus.sources={c={paths=["t"]}}',
    ),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "said", "right"), REFUSED, ids=[said for _, said, _ in REFUSED])
def test_what_several_tables_contradict_is_refused_at_its_limit(folder, wrong, said, right):
    with pytest.raises(ConfigError, match=re.compile(said, re.DOTALL)):
        load_run("mine.toml", wrong.split())
    load_run("mine.toml", [*wrong.split(), *right.split()])


def test_what_a_run_counts_of_itself(folder):
    config, _ = load_run("mine.toml", ["train.half_length_fraction=0.25"])
    assert config.num_rows == 24 * 512 / 64
    assert config.shortest_row == 32
    assert load_run("mine.toml", ["train.half_length_fraction=0"])[0].shortest_row == 64
    assert not config.is_tuned and config.base is None
    assert train_plan(config).seed == 1 and train_plan(config).base is None
    assert config.with_train(num_steps=3).train == config.train.model_copy(update={"num_steps": 3})
    assert with_values(config, {"train.num_steps": 5, "optim.beta1": 0.5}) == config.with_train(num_steps=5).model_copy(
        update={"optim": config.optim.model_copy(update={"beta1": 0.5})}
    )
    assert with_values(config, {}) is config
    made = made_for(config)
    assert made["machine"] == {"dtype": "float32"} and made["model"]["d_model"] == 32
    (config.folders.tokens).mkdir(parents=True)
    (config.folders.tokens / "manifest.json").write_text('{"digest": "d1"}')
    assert made_for(config) == made | {"text": "d1"}


def test_a_text_that_is_no_file_yet_is_a_run_of_its_name():
    config = config_of_text("[corpus.sources.a]\npaths=['t']\n", [f"{name}={value}" for name, value in SMALL.items()])
    assert (config.name, config.model.vocab_size) == ("run", 384)


# ---- which run a name is


NO_RUNS = [
    ("first-lihgt", "; did you mean first-light[?] .*recipes: .*first-light"),
    ("min", "; did you mean mine.toml[?]"),
    ("texts", "texts is a folder, and not a run's: .*--text texts"),
    ("train.num_steps", "is a setting, and no run; .*explain mine.toml train.num_steps"),
    ("traim.num_steps", "is no recipe, run file or run folder"),
    ("train.toml", "is no recipe, run file or run folder"),
    ("zzzzz", "run folder; `headwater new NAME --text FOLDER` writes"),
    ("kept-2", "; did you mean runs/kept-2[?]"),
]


@pytest.mark.parametrize(("name", "said"), NO_RUNS)
def test_a_name_of_no_run_is_met_with_what_to_type(folder, name, said):
    (folder / "texts").mkdir()
    for number in range(9):
        (folder / "runs" / f"kept-{number}").mkdir(parents=True)
    with pytest.raises(ConfigError, match=said) as caught:
        load_run(name)
    if "did you mean runs" in str(caught.value):
        assert "runs here: runs/kept-0, runs/kept-1, " in str(caught.value)
        assert "runs/kept-7, …)" in str(caught.value) and "kept-8" not in str(caught.value)
    (folder / "runs" / "kept-8").rmdir()
    with pytest.raises(ConfigError) as caught:
        load_run("nothing-like-it")
    assert "runs/kept-7)" in str(caught.value) and "…" not in str(caught.value)


def keep(folder, *overrides: str):
    """Write the config.json of a run of mine.toml, as `headwater run` does, and return its folder."""
    config, reasons = load_run("mine.toml", list(overrides))
    config.run_dir.mkdir(parents=True)
    (config.run_dir / "config.json").write_text(json.dumps(config_record(config, reasons)))
    return folder / config.run_dir


def test_a_run_folder_is_found_by_every_name_of_its_run(folder):
    with pytest.raises(
        ConfigError, match=r"mine.toml has not been run here: there is no folder runs/mine; `headwater run"
    ):
        run_folder("mine.toml")
    kept = keep(folder)
    for name in ("mine", "mine.toml", "runs/mine", str(kept)):
        assert (folder / run_folder(name)).samefile(kept), name
    (folder / "mine").mkdir()  # its text, say
    assert run_folder("mine") == run_folder("mine.toml")
    (folder / "mine" / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(ConfigError, match="mine is a model from elsewhere, and not a run"):
        run_folder("mine")
    (folder / "other.gguf").write_bytes(b"GGUF")
    with pytest.raises(ConfigError, match=r"other.gguf is a model from elsewhere"):
        load_run("other.gguf")
    (folder / "elsewhere" / "mine").mkdir(parents=True)
    assert str(run_folder("mine.toml", ["runs_dir=elsewhere"])) == "elsewhere/mine"


def test_a_run_folder_has_its_own_settings_and_rules_follow_what_is_set_beside_them(folder):
    kept = keep(folder, "model.d_model=48", "optim.max_grad_norm=off")
    first, before = load_run("mine.toml", ["model.d_model=48", "optim.max_grad_norm=off"])
    (folder / "mine.toml").unlink()
    for name in ("mine", "runs/mine"):
        config, reasons = load_run(name)
        assert config == first and reasons == before
    config, reasons = load_run("runs/mine", ["model.num_layers=3", "train.num_steps=48"])
    origins = {each.setting: each.origin for each in reasons}
    assert (config.model.d_model, config.model.num_layers, config.optim.max_grad_norm) == (48, 3, None)
    assert config.train.save_every == 8, "the file set it"
    assert (origins["model.d_ff"], origins["model.d_model"], config.model.d_ff) == ("rule", "user", first.model.d_ff)
    moved = kept.rename(folder / "moved")
    (folder / "link").symlink_to(moved)
    for path in (moved, folder / "link"):
        config = config_of_run(path)
        assert config.name == "moved" and config.run_dir.samefile(moved)
    older = (
        (moved / "config.json")
        .read_text()
        .replace('"train": {', '"train": {"audit_every": null,')
        .replace('"parallel": {', '"parallel": {"expert": 1,')
    )
    (moved / "config.json").write_text(older)
    assert "expert" in older and config_of_run(moved) == config_of_run(folder / "link").model_copy(
        update={"name": "moved"}
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "is a folder, and not a run's: it has no config.json"),
        ("{", "is damaged"),
        ("[]", "is damaged"),
        ('{"settings": {}}', "is damaged"),
        ('{"settings": {}, "reasons": [{"x": 1}]}', "is damaged"),
        ('{"settings": {"seed": 1}, "reasons": []}', "(?s)are needed .*doesn't fit this headwater"),
    ],
)
@pytest.mark.parametrize(
    ("run", "remedy"), [("mine", "mine.toml"), ("first-light", "first-light"), ("of-others", "RUN.toml")]
)
def test_a_run_folder_without_its_settings_names_the_call_that_writes_them(folder, text, said, run, remedy):
    (folder / run).mkdir()
    if text is not None:
        (folder / run / "config.json").write_text(text)
    with pytest.raises(ConfigError, match=f"{said}.*`headwater run {remedy}` (makes one|writes it again)"):
        config_of_run(folder / run)
