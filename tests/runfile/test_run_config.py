"""What spans several tables of a run file is checked when the file is read, and said of the right setting."""

from __future__ import annotations

import pytest
from small_run import write_run_file

from headwater.core.errors import ConfigError
from headwater.runfile.run_config import load_run

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
