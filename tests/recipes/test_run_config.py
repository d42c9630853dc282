"""What spans several tables of a run file is checked when the file is read, and said of the right setting."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_run import write_run_file

from headwater.checkpoint.layout import checkpoint_dir
from headwater.errors import CheckpointError, ConfigError
from headwater.recipes.run_config import load_run

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


def saved_by(monkeypatch, microbatch_tokens: int, batch_tokens: int = 512) -> None:
    """Let runs/mine have a damaged checkpoint, and one before it of an exact run with such portions."""
    train = {"exact": True, "batch_tokens": batch_tokens, "microbatch_tokens": microbatch_tokens}
    for step in (8, 16):
        checkpoint_dir(Path("runs/mine"), step).mkdir(parents=True)

    def read_state(path: Path) -> dict:
        if path.name.endswith("16"):
            raise CheckpointError("damaged")
        return {"identity": {"train": train}}

    monkeypatch.setattr("headwater.recipes.kept_microbatch.read_state", read_state)


def microbatch(*overrides: str) -> tuple[int, str]:
    config, reasons = load_run("mine.toml", list(overrides))
    why = next(reason.why for reason in reasons if reason.setting == "train.microbatch_tokens")
    return config.train.microbatch_tokens, why


def test_an_exact_run_that_began_under_another_rule_goes_on_with_its_microbatch(folder, monkeypatch):
    assert microbatch("train.exact=true")[0] == 128, "a quarter of the batch"
    saved_by(monkeypatch, 512)
    assert microbatch("train.exact=true") == (512, "as the run's checkpoints have it; a run that begins now has 128")


@pytest.mark.parametrize("override", ["train.microbatch_tokens=256", "train.exact=false", "name=other"])
def test_what_the_file_names_is_not_taken_from_a_checkpoint_nor_that_of_another_run(folder, monkeypatch, override):
    before = microbatch("train.exact=true", override)
    saved_by(monkeypatch, 512)
    assert microbatch("train.exact=true", override) == before


def test_the_microbatch_of_another_batch_is_not_kept(folder, monkeypatch):
    saved_by(monkeypatch, 512, batch_tokens=1024)
    assert microbatch("train.exact=true")[0] == 128
