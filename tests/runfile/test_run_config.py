"""What spans several tables of a run file is checked when the file is read, and said of the right setting.

And which run a name is: a recipe, a file, a folder, or none, with what to type instead.
"""

from __future__ import annotations

import json
import re

import pytest
from golden_rows import rows
from small_run import write_run_file

from headwater.core.errors import ConfigError
from headwater.runfile.run_config import (
    config_of_run,
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


REFUSED = rows("contradictions")
"Settings, and what is said of them; where they end on the right side of the limit."


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


# ---- which run a name is


@pytest.mark.parametrize(("name", "said"), rows("names_of_no_run"))
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
