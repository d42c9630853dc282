"""Code that a run file names: found beside it, run once for its bytes, and every error says what to do."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from golden_rows import rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.core.code import digest_code, find_code, load_code
from headwater.core.errors import ConfigError

CODE = """from __future__ import annotations
from dataclasses import dataclass

@dataclass
class Shouting:
    words: list[str]

def _hidden(): ...
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(CODE, encoding="utf-8")
    return tmp_path


def test_a_class_is_the_same_until_its_file_changes_and_nothing_is_written_beside_it(folder):
    found, digest = load_code("mine.py:Shouting", folder), digest_code("mine.py:Shouting", folder)
    assert load_code(f"{folder}/./mine.py:Shouting", Path("/")) is found and found(["a"]).words == ["a"]
    assert sys.modules[found.__module__].__file__ == f"{folder}/mine.py"
    (folder / "mine.py").write_text(CODE.replace("words", "marks"), encoding="utf-8")
    assert load_code("mine.py:Shouting", folder)(["b"]).marks == ["b"]
    assert digest_code("mine.py:Shouting", folder) != digest
    assert os.listdir(folder) == ["mine.py"]


def test_a_digest_is_of_name_and_bytes_wherever_the_file_lies_and_runs_nothing(folder):
    (folder / "sub").mkdir()
    for path in (folder / "mine.py", folder / "sub" / "mine.py"):
        path.write_text("raise SystemExit", encoding="utf-8")
    assert digest_code("mine.py:A", folder) == digest_code("sub/mine.py:A", folder) != digest_code("mine.py:B", folder)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=30) | st.from_regex(r"[\w./~:-]{0,20}(\.py)?:?\w{0,9}", fullmatch=True))
def test_any_text_names_code_or_is_refused_and_what_is_not_there_is_a_plain_error(folder, text):
    try:
        code = find_code(text, folder)
    except ValueError as error:
        assert not isinstance(error, UnicodeError) and "mine.py:Name" in str(error)
        return
    assert code.path is None or (code.path.is_absolute() and code.path.suffix == ".py")
    assert find_code(str(code), Path("/elsewhere")) == code
    for act in (load_code, digest_code):
        with pytest.raises(ConfigError):
            act(text, folder, "headwater.formats")


@pytest.mark.parametrize(("reference", "source", "message"), rows("what_is_wrong_with_code_is_said"))
def test_what_is_wrong_with_code_is_said(folder, reference, source, message):
    (folder / "mine.py").write_text(source, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load_code(reference, folder, "headwater.formats")


@pytest.mark.parametrize(
    "reference", ["", "mine.py", "mine.py:", "os:system", "https://a.example/mine.py:A", "a.py:b.c", "a.PY:b"]
)
def test_what_names_no_file_here_is_refused(folder, reference):
    with pytest.raises(ValueError, match=r"names no code|is an address"):
        find_code(reference, folder)


def test_a_package_adds_code_by_an_entry_point(folder, monkeypatch):
    package = folder / "shouting-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: shouting\nVersion: 1\n")
    (package / "entry_points.txt").write_text("[headwater.formats]\nloud = shouting_module:Shouting\n")
    (folder / "shouting_module.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(folder))
    assert load_code("loud", Path(), "headwater.formats").__name__ == "Shouting"
    digest = digest_code("loud", Path(), "headwater.formats")
    assert digest == digest_code("mine.py:Shouting", folder)
    with pytest.raises(ConfigError, match="installed are loud"):
        digest_code("quiet", Path(), "headwater.formats")
