"""Formats of a user's own, as a run file names them (that they read what they should: tests/conformance)."""

from __future__ import annotations

import pytest
from made_files import compressed, zipped
from small_run import write_run_file

from headwater.core.errors import ConfigError
from headwater.corpus.inputs import corpus_inputs, corpus_key
from headwater.corpus.read.own import own_formats
from headwater.corpus.sources.own_code import FormatSettings
from headwater.corpus.sources.settings import CorpusSettings
from headwater.runfile.run_config import load_run

HEAD = "from headwater.corpus.read.own import OwnFormat\nclass Mine(OwnFormat):\n    suffixes = 'mbox'\n"
READ = "    def read(self, file, limits):\n        yield file.document(file.read_whole(99).decode().upper())\n"


@pytest.fixture
def own(tmp_path):
    """Return a function that writes code and gives the settings that name it."""

    def write(code: str = HEAD + READ, name: str = "Mine") -> dict:
        (tmp_path / "mine.py").write_text(code, encoding="utf-8")
        return {"mail": {"class": f"{tmp_path}/mine.py:{name}"}}

    return write


@pytest.mark.parametrize("isolated", [True, False])
@pytest.mark.parametrize(
    ("body", "text", "because"),
    [
        (READ, "WORDS", None),
        ("    def read(self, file, limits):\n        return 1 / len(file.origin[:0])\n", None, "ZeroDivisionError"),
        ("    def read(self, file, limits):\n        yield 'words'\n", None, "read yields str, and not file.document"),
        ("    def read(self, file, limits):\n        yield file.document(5)\n", None, "read yields Document"),
        ("    x = 1\n", None, "NotImplementedError"),
    ],
)
def test_a_format_reads_its_files_wherever_they_are_and_its_error_costs_the_file(
    read, own, isolated, body, text, because
):
    formats = own(f"{HEAD}    isolated = {isolated}\n{body}")
    for name, data in (
        ("a.mbox", b"words"),
        ("a.mbox.gz", compressed("a.gz", b"words")),
        ("a.zip", zipped({"a.MBOX": "words"})),
    ):
        documents, drops = read(name, data, formats=formats)
        assert [each.text for each in documents] == ([text] if text else [])
        assert [(each.reason, because in each.because) for each in drops] == (
            [("parser_failed", True)] if because else []
        )


def test_a_format_of_records_loses_the_one_on_which_its_parser_dies(read, own):
    body = """    records = True
    def read(self, file, limits):
        import os
        for number, line in enumerate(file.read_whole(999).split()):
            if file.begin_record(f"#{number}", len(line)):
                line == b"die" and os._exit(1)
                yield file.document(line.decode(), f"#{number}")
"""
    documents, drops = read("a.mbox", b"one two die four", formats=own(HEAD + body))
    assert [each.text for each in documents] == ["one", "two", "four"]
    assert [(each.reason, each.num_bytes) for each in drops] == [("parser_died", 3)]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (HEAD.replace("mbox", "") + READ, "the suffix '' is none"),
        (HEAD.replace("mbox", "a/b") + READ, "the suffix 'a/b' is none"),
        (HEAD.replace("mbox", ".gz") + READ, "the suffix 'gz' is none"),
        (HEAD.replace("mbox", "eml .EML") + READ, "the suffix 'eml' is also one of mail"),
        ("class Mine: ...", "is no format; write class NAME"),
        ("Mine = 5", "is no format; write class NAME"),
    ],
)
def test_code_that_is_no_format_is_refused(own, code, message):
    settings = {name: FormatSettings.model_validate(each) for name, each in own(code).items()}
    with pytest.raises(ConfigError, match=message):
        own_formats(settings)


@pytest.mark.parametrize("name", ["pdf", "Log", "", "a-b"])
def test_a_format_has_a_name_of_its_own(own, name):
    with pytest.raises(ValueError, match="format name"):
        CorpusSettings.model_validate({"sources": {"a": {"paths": ["x"]}}, "formats": {name: own()["mail"]}})


def test_the_key_of_a_corpus_follows_the_code_and_not_where_it_lies(own, tmp_path):
    (tmp_path / "text.txt").write_text("words")

    def key(formats: dict) -> str:
        settings = CorpusSettings.model_validate(
            {"sources": {"a": {"paths": [f"{tmp_path}/text.txt"]}}, "formats": formats}
        )
        return corpus_key(settings, corpus_inputs(settings))

    first = key(own())
    (tmp_path / "elsewhere.py").write_text(HEAD + READ)
    assert key({"mail": {"class": f"{tmp_path}/elsewhere.py:Mine"}}) == first
    assert (
        len({first, key({}), key(own(HEAD + READ + "# more\n")), key(own(HEAD + READ + "Other = Mine\n", "Other"))})
        == 4
    )


def test_a_file_of_code_lies_beside_the_run_file_that_names_it_and_settings_alone_run_nothing(tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub" / "mine.py").write_text("raise SystemExit('it ran')")
    write_run_file(tmp_path / "sub" / "base.toml")
    with open(tmp_path / "sub" / "base.toml", "a") as file:
        file.write('\n[corpus.formats.mail]\nclass = "mine.py:Mine"\n')
    (tmp_path / "run.toml").write_text('extends = "sub/base.toml"\n')
    config, reasons = load_run("run.toml")
    assert config.corpus.formats["mail"].class_ == f"{tmp_path}/sub/mine.py:Mine"
    assert [each.where for each in reasons if each.setting == "corpus.formats.mail.class"] == ["sub/base.toml"]
    with pytest.raises(ConfigError, match=r"corpus\.formats\.mail\.class.*names no code"):
        load_run("run.toml", ["corpus.formats.mail.class=os:system"])
