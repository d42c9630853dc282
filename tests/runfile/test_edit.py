"""Settings written into a run file: what is there stays, and the file then says what the override said."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.core.errors import ConfigError
from headwater.runfile.edit import write_overrides
from headwater.runfile.given import Given

FILE = """# mine
extends = "first-light"  # a recipe

[corpus.rules.web]
min_words = 50  # Gopher's

[corpus.limits.web]
words = { max = 9 }
"""
NAMES = ["corpus.rules.web.min_words", "corpus.limits.web.words.min", "corpus.limits.text.new.max", "train.num_steps"]


@given(st.dictionaries(st.sampled_from(NAMES), st.integers(0, 10**6) | st.floats(0, 1e6), min_size=1))
def test_the_file_says_what_the_overrides_said_and_all_that_it_said_before(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("edit") / "mine.toml"
    path.write_text(FILE)
    overrides = [f"{name}={value!r}" for name, value in values.items()]
    write_overrides(path, overrides)
    expected = Given(tomllib.loads(FILE))
    for override in overrides:
        expected = expected.with_override(override)
    assert tomllib.loads(path.read_text()) == expected.table
    assert "# mine\n" in path.read_text() and "# a recipe" in path.read_text()


def test_ends_of_lines_stay(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes(b"seed = 1\r\n# mine\r\n")
    write_overrides(path, ["train.num_steps=3"])
    assert path.read_bytes().startswith(b"seed = 1\r\n# mine\r\n")


@pytest.mark.parametrize("text", [None, "a = ", 'corpus = "text"\n'])
def test_what_is_not_a_run_file_of_ones_own_is_refused_and_left_alone(tmp_path, text):
    path = tmp_path / "mine.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError):
        write_overrides(path, ["corpus.rules.web.min_words=1"])
    assert not path.exists() if text is None else path.read_text() == text
