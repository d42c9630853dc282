"""One declaration, files that extend each other, overrides before validation, all problems in one message."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

import pytest
from golden_rows import rows
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, model_validator

from headwater.core.config import Settings, shown, to_toml
from headwater.core.errors import ConfigError
from headwater.runfile.checking import validate
from headwater.runfile.given import Given, Override, leaves, read_settings


class ModelTable(Settings):
    num_layers: int = Field(ge=1)
    "Number of blocks."
    d_model: int = 64
    "Width."

    @model_validator(mode="after")
    def _check(self) -> ModelTable:
        if self.d_model % 2:
            raise ValueError(f"d_model={self.d_model} must be even")
        return self


class OptimTable(Settings):
    name: Literal["muon", "adamw"] = "muon"
    lr: float = Field(default=0.02, gt=0)
    max_grad_norm: float | None = 1.0


class SourceTable(Settings):
    paths: list[str] = []
    weight: float = 1.0


class RunTable(Settings):
    seed: int = 0
    model: ModelTable
    optim: OptimTable = OptimTable()
    sources: dict[str, SourceTable] = {}
    stages: list[SourceTable] | None = None


@pytest.fixture
def folder(tmp_path):
    """Write TOML files by name."""

    def write(**texts: str) -> Path:
        for name, text in texts.items():
            (tmp_path / f"{name}.toml").write_text(text)
        return tmp_path

    return write


def read(path: Path, *overrides: str, recipes: dict[str, Path] | None = None) -> Given:
    return read_settings(path, list(overrides), lambda name: (recipes or {}).get(name))


def given_by(*overrides: str) -> Given:
    found = Given()
    for override in overrides:
        found = found.with_override(override)
    return found


# ---- files that extend each other


def test_extends_goes_through_several_files_and_recipes(folder):
    path = folder(
        recipe="[model]\nnum_layers = 2\n[sources.a]\nweight = 1\n",
        middle='extends = "first-light"\nseed = 5\n[sources.b]\nweight = 2\n',
        run='extends = "middle.toml"\n[sources.a]\npaths = ["x"]\n',
    )
    raw = read(path / "run.toml", recipes={"first-light": path / "recipe.toml"})
    run = validate(RunTable, raw)
    assert run.sources == {"a": SourceTable(paths=["x"], weight=1), "b": SourceTable(weight=2)}
    assert raw.origins["sources.a.weight"] == str(path / "recipe.toml")
    assert raw.origins["sources.a.paths"] == str(path / "run.toml")
    assert not raw.has("extends")


@pytest.mark.parametrize("way", ["run.toml", "./run.toml", "../{folder}/run.toml", "other.toml"])
def test_a_circle_of_extends_is_an_error(folder, way):
    path = folder(other='extends = "run.toml"')
    (path / "run.toml").write_text(f'extends = "{way.format(folder=path.name)}"')
    with pytest.raises(ConfigError, match="extends itself"):
        read(path / "run.toml")


def test_a_file_that_extends_nothing_known_names_both(folder):
    path = folder(run='extends = "frist-light"')
    with pytest.raises(ConfigError, match=r"run\.toml extends 'frist-light', which is neither a file beside it nor"):
        read(path / "run.toml")


def test_a_run_file_that_is_not_there_or_a_folder_says_so(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        read(tmp_path / "run.toml")
    with pytest.raises(ConfigError, match="is a folder"):
        read(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="can't be read"):
        read(tmp_path / "file" / "run.toml")


LIMITS = [  # texts that are as large as a file may be, and larger ones
    ("a = " + "[" * 20 + "]" * 20, "a = " + "[" * 21 + "]" * 21, "more than 20 deep"),
    (f"a = [{'1,' * 4998}]", f"a = [{'1,' * 4999}]", "more than 5000 values"),
    (f"a = {2**63 - 1}", f"a = {2**63}", "more than 64 bits"),
    (f"a = {-(2**63)}", f"a = {-(2**63) - 1}", "more than 64 bits"),
    ("#" * 1_000_000, "#" * 1_000_001, "more than 1,000,000 bytes"),
]


@pytest.mark.parametrize(("most", "more", "said"), LIMITS, ids=[said for *_, said in LIMITS])
def test_a_file_may_be_as_large_as_is_said_and_no_larger(folder, most, more, said):
    read(folder(run=most) / "run.toml")
    with pytest.raises(ConfigError, match=f"run.toml is not valid TOML: .*{said}"):
        read(folder(run=more) / "run.toml")


def test_a_program_gives_values_by_path_within_the_same_limits():
    found = Given().with_override(Override(("sources", "a.b", "weight"), 2.5))
    assert found.table == {"sources": {"a.b": {"weight": 2.5}}}
    assert found.origins == {"sources.a.b.weight": "call (sources.a.b.weight=2.5)"}
    with pytest.raises(ConfigError, match="a: a whole number has more than 64 bits"):
        Given().with_override(Override(("a",), 1 << 63))
    for number, refused in ((20, False), (21, True)):
        for override in (Override(("a",) * number, 1), ".".join("a" * number) + "=1"):
            try:
                Given().with_override(override)
            except ConfigError as error:
                assert refused and f"it has {number - 1} dots" in str(error)
            else:
                assert not refused


@given(st.integers(1, 400).filter(lambda length: length != 200))
def test_a_long_value_is_shown_by_its_first_two_hundred_characters(length):
    text = shown("x" * (length - 2) if length > 2 else length)
    assert text == repr("x" * (length - 2) if length > 2 else length)[:200] + "…" * (length > 200)


# ---- values


@pytest.mark.parametrize(("text", "value"), rows("an_override_reads_as_toml_and_else_as_a_word"))
def test_an_override_reads_as_toml_and_else_as_a_word(text, value):
    assert Given().with_override(f"a.b={text}").table == {"a": {"b": value}}


# ---- overrides


@pytest.mark.parametrize("override", ["model.num_layers", "=3", "  = 3", ""])
def test_an_override_without_a_name_or_a_value_says_how_to_write_it(folder, override):
    path = folder(run="") / "run.toml"
    with pytest.raises(ConfigError, match=r"section\.setting=value"):
        read(path, override)


def test_an_override_below_a_value_says_that_it_is_no_table(folder):
    path = folder(run="seed = 1\n") / "run.toml"
    with pytest.raises(ConfigError, match="seed is a value, not a table"):
        read(path, "seed.deep=3")


# ---- problems


def problems(folder, text: str, *overrides: str) -> str:
    path = folder(run=text) / "run.toml"
    with pytest.raises(ConfigError) as caught:
        validate(RunTable, read(path, *overrides))
    return str(caught.value)


def test_all_problems_come_at_once_each_with_where_it_was_set(folder):
    text = problems(folder, 'sed = 1\n[model]\nnum_layers = "x"\n[optim]\nlr = -1.0\n', "optim.name=adam")
    assert text.startswith("the settings have 4 problems:")
    assert "sed = 1: unknown setting; did you mean seed?" in text
    assert "model.num_layers = 'x': " in text
    assert "optim.lr = -1.0: " in text
    assert "optim.name = 'adam': " in text
    assert text.count("run.toml") == 3
    assert "set in command line (optim.name=adam)" in text


def test_off_is_none_where_none_is_allowed_and_a_word_elsewhere():
    class Part(Settings):
        limit: float | None = 1.0
        mode: str = "on"

    class Whole(Settings):
        part: Part = Part()
        parts: dict[str, Part] = {}

    settings = validate(Whole, given_by("part.limit=off", "part.mode=off", 'parts.a.limit="off"'))
    assert settings.part.limit is None and settings.parts["a"].limit is None
    assert settings.part.mode == "off"


class Lists(Settings):
    words: list[str] = []
    choices: list[Literal["a", "b"]] | None = None
    shares: list[float] | None = None


def lists(*overrides: str) -> Lists:
    return validate(Lists, given_by(*overrides))


@pytest.mark.parametrize(("override", "name", "value"), rows("a_lone_string_is_a_list_of_one_where_a_list_is"))
def test_a_lone_string_is_a_list_of_one_where_a_list_is_wanted(override, name, value):
    assert getattr(lists(override), name) == value


@pytest.mark.parametrize(
    ("override", "to_type"),
    [
        ("words=[FOLDER]", """'words=["FOLDER"]'"""),
        ("words=[my texts, more]", """'words=["my texts", "more"]'"""),
        ("words=7", """'words=["7"]'"""),
        ("words=off", """'words=["off"]'"""),
        ("shares=0.3", "'shares=[0.3]'"),
    ],
)
def test_what_is_no_list_says_what_to_type(override, to_type):
    with pytest.raises(ConfigError, match="a list is wanted") as caught:
        lists(override)
    assert f"in a shell {to_type}" in str(caught.value)


class Outer(Settings):
    inner: Lists | None = None


@pytest.mark.parametrize("value", ["true", "5", '"some"'])
def test_a_value_in_place_of_a_table_says_what_stands_in_it(value):
    raw = given_by(f"inner={value}")
    with pytest.raises(ConfigError, match=r"inner = .*: a table .* in it are words, .*; inner = {} takes all"):
        validate(Outer, raw)


NAMES = st.text("abz_09-", min_size=1, max_size=4)
PLAIN = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text()
TABLES = st.recursive(
    PLAIN | st.lists(PLAIN, max_size=3), lambda inner: st.dictionaries(NAMES, inner, max_size=3), max_leaves=9
)


def off_for_none(value: object) -> object:
    if isinstance(value, dict):
        return {name: off_for_none(inner) for name, inner in value.items()}
    return [*map(off_for_none, value)] if isinstance(value, list) else "off" if value is None else value


@given(st.dictionaries(NAMES, TABLES, max_size=4))
def test_what_is_written_as_toml_is_read_as_the_same(table):
    assert tomllib.loads(to_toml(table)) == off_for_none(table)
    found = Given()
    for path in leaves(table) if table else []:
        value = table
        for name in path.split("."):
            value = value[name]
        found = found.with_value(path, value, "here")
        assert found.get(path) == value and found.has(path) and not found.has(f"{path}.deeper")
    assert found.table == table
