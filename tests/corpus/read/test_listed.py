"""Files and records that a list names: each read once, by its address, and a record by its range of bytes alone."""

from __future__ import annotations

import gzip

import fsspec
import pytest
from golden_rows import rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_files import http, rows_as, warc

from headwater.core.errors import DataError
from headwater.corpus.document import Drop
from headwater.corpus.inputs import corpus_inputs
from headwater.corpus.read.remote import copied, range_of_bytes
from headwater.corpus.read.source import read_source
from headwater.corpus.sources.settings import CorpusSettings

TEXTS = [f"Page {number} tells of rain." for number in range(5)]
RECORDS = [warc("response", http(f"<p>{text}</p>".encode()), "WARC-Target-URI: http://a.test") for text in TEXTS]
MEMBERS = [gzip.compress(record, mtime=0) for record in RECORDS]
PLACES = [(sum(map(len, MEMBERS[:number])), len(member)) for number, member in enumerate(MEMBERS)]


@pytest.fixture
def memory():
    store = fsspec.filesystem("memory")
    store.pipe("/crawl/a.warc.gz", b"".join(MEMBERS))
    store.pipe("/crawl/b.txt", b"two")
    yield store
    store.rm("/crawl", recursive=True)


def settings_of(list_path, prefix: str = "") -> CorpusSettings:
    source = {"kind": "web", "paths_file": str(list_path), "prefix": prefix}
    return CorpusSettings.model_validate({"sources": {"mine": source}})


def texts_of(list_path, prefix: str = "") -> list[str]:
    pieces = list(read_source("mine", settings_of(list_path, prefix)))
    assert len({piece.id for piece in pieces}) == len(pieces)
    return [piece.reason if isinstance(piece, Drop) else piece.text for piece in pieces]


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_lines_name_files_here_or_elsewhere_in_their_order(memory, tmp_path, suffix):
    lines = b"# those of March\nb.txt\n\na.warc.gz\nb.txt\n"
    (tmp_path / f"wet.paths{suffix}").write_bytes(gzip.compress(lines) if suffix else lines)
    assert texts_of(tmp_path / f"wet.paths{suffix}", "memory://crawl/") == ["two", *TEXTS]
    (tmp_path / "b.txt").write_text("here")
    (tmp_path / "a.warc.gz").write_bytes(MEMBERS[3])
    assert texts_of(tmp_path / f"wet.paths{suffix}", f"{tmp_path}/") == ["here", TEXTS[3]]
    memory.pipe("/crawl/wet.paths", b"b.txt")
    assert texts_of("memory://crawl/wet.paths", "memory://crawl/") == ["two"]


@pytest.mark.parametrize("prefix", ["memory://crawl/", ""])
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wanted=st.lists(st.integers(0, 4), min_size=1, max_size=8), form=st.sampled_from(["parquet", "csv"]))
def test_rows_of_an_index_name_records_by_their_bytes(memory, tmp_path, prefix, wanted, form):
    if not prefix:
        (tmp_path / "a.warc.gz").write_bytes(b"".join(MEMBERS))
        prefix = f"{tmp_path}/"
    columns = ("url", "warc_filename", "warc_record_offset", "warc_record_length")
    rows = [dict(zip(columns, ("http://a.test", "a.warc.gz", *PLACES[number]))) for number in wanted]
    (tmp_path / f"index.{form}").write_bytes(rows_as(f"index.{form}", rows))
    assert texts_of(tmp_path / f"index.{form}", prefix) == [TEXTS[number] for number in dict.fromkeys(wanted)]


def test_a_list_is_an_input_by_what_it_names(memory, tmp_path):
    (tmp_path / "a.paths").write_text("b.txt")
    first = corpus_inputs(settings_of(tmp_path / "a.paths", "memory://crawl/"))
    (tmp_path / "a.paths").write_text("b.txt\n# no more")
    assert corpus_inputs(settings_of(tmp_path / "a.paths", "memory://crawl/")) == first
    (tmp_path / "a.paths").write_text("b.txt\na.warc.gz")
    assert corpus_inputs(settings_of(tmp_path / "a.paths", "memory://crawl/")) != first


@pytest.mark.parametrize(("name", "content", "message"), rows("what_is_wrong_with_a_list_is_said"))
def test_what_is_wrong_with_a_list_is_said(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=message) as raised:
        texts_of(tmp_path / name, "" if "https" in (content or "") else f"{tmp_path}/")
    assert "secret-word" not in str(raised.value) and "corpus.sources.mine.paths_file" in str(raised.value)


def test_a_server_that_gives_whole_files_in_place_of_ranges_is_said(memory, monkeypatch):
    monkeypatch.setattr(type(memory), "cat_file", lambda self, path, start=None, end=None: b"x" * 100)
    with (
        pytest.raises(DataError, match="gives whole files"),
        copied(range_of_bytes("memory://crawl/b.txt", 1, 2), "mine"),
    ):
        pass


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"paths": ["x"]}, "exactly one of"),
        ({"splits": ["train"]}, "no effect on fetched and paths_file"),
        ({"paths_file": None, "paths": ["x"]}, "prefix has no effect"),
    ],
)
def test_settings_that_mean_nothing_beside_a_list_are_refused(more, message):
    with pytest.raises(ValueError, match=message):
        CorpusSettings.model_validate({"sources": {"mine": {"paths_file": "a", "prefix": "b", **more}}})
