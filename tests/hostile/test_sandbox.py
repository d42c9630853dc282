"""The process that parses: the same pieces as in this one; its death, slowness and hunger cost one record."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_files import http, warc, zipped

from headwater.core.errors import DataError
from headwater.corpus.document import Document, Drop
from headwater.corpus.read import sandbox
from headwater.corpus.read.input import InputFile, parse
from headwater.corpus.read.limits import ReadLimits, Unusable
from headwater.corpus.read.sandbox import Sandbox, SandboxLimits
from headwater.corpus.sources.formats import format_of

LIMITS = ReadLimits(max_document_characters=2000, max_line_bytes=100_000, max_file_bytes=4_000_000)
PAGE = "<title>A page \u2028 of rivers</title><p>" + "The river é 河 😀 flows. " * 200 + "</p>"


@pytest.fixture
def box():
    with Sandbox() as box:
        yield box


@pytest.fixture
def files(tmp_path) -> dict[str, InputFile]:
    """Return a page, one that is none, and one whose name is no text."""
    name = os.fsdecode(b"caf\xe9\n.html")
    for each, page in (("a.html", PAGE), ("b.html", "plain words"), (name, PAGE)):
        (tmp_path / each).write_text(page, encoding="utf-8")
    return {each: InputFile(tmp_path / each, f"origin/{each}", "mine", "web") for each in ("a.html", "b.html", name)}


def outcomes(pieces) -> list[Document | Drop | str]:
    """Return the pieces, then the reason why there are no more."""
    found: list[Document | Drop | str] = []
    try:
        for piece in pieces:
            found.append(piece)  # one by one: those before the end count
    except Unusable as error:
        found.append(error.reason)
    return found


def test_a_file_of_any_name_is_read_as_it_is_here(box, files):
    for file in files.values():
        assert outcomes(box.read(file, "html", LIMITS)) == outcomes(parse(file, "html", LIMITS))


def rows(tmp_path, count: int = 3000) -> InputFile:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"text": [f"row {number} " * 40 for number in range(count)]}), path)
    return InputFile(path, "rows", "mine", "web")


def kill(box: Sandbox) -> None:
    os.kill(box._worker.pid, signal.SIGKILL)
    box._worker._process.wait()


@pytest.mark.parametrize("is_used", [False, True])
def test_a_process_that_dies_is_replaced_and_no_piece_is_lost_or_doubled(box, files, tmp_path, is_used):
    file = rows(tmp_path)
    if is_used:
        outcomes(box.read(files["a.html"], "html", LIMITS))
    pieces = box.read(file, "parquet", LIMITS)
    taken = [next(pieces) for _ in range(7)]
    kill(box)
    assert [*taken, *outcomes(pieces)] == outcomes(parse(file, "parquet", LIMITS))


def test_a_process_that_is_left_in_the_middle_of_a_file_does_not_answer_the_next(box, files, tmp_path):
    pieces = box.read(rows(tmp_path), "parquet", LIMITS)
    next(pieces)
    pieces.close()
    assert outcomes(box.read(files["b.html"], "html", LIMITS)) == ["not_html"]


SLOW_PAGE = "<p " + " ".join(f"a{number}=1" for number in range(50_000)) + ">words"
HUNGRY_PAGE = "<p>" + "<b>x" * 300_000
SMALL = SandboxLimits(memory_bytes=60 << 20)
NUM_PAGES = 9


def crawl(path: Path, hostile_at: set[int]) -> InputFile:
    """Write a WARC of pages, hostile ones among them."""
    with open(path, "wb") as file:
        for number in range(NUM_PAGES):
            page = HUNGRY_PAGE if number in hostile_at else f"<title>Page {number}</title><p>Words of page {number}."
            file.write(warc("response", http(page.encode()), f"WARC-Target-URI: https://river.test/{number}"))
    return InputFile(path, "crawl", "mine", "web")


@pytest.mark.parametrize("hostile_at", [{0, NUM_PAGES - 1}, {3, 4}])
def test_a_hostile_page_costs_that_page_of_its_crawl(tmp_path, hostile_at):
    file = crawl(tmp_path / "crawl.warc", hostile_at)
    with Sandbox(SMALL) as box:
        found = list(box.read(file, "warc", LIMITS))
    assert [piece.id for piece in found] == [f"crawl#{number}" for number in range(NUM_PAGES)]
    drops = [piece for piece in found if isinstance(piece, Drop)]
    assert {drop.excerpt for drop in drops} == {f"https://river.test/{number}" for number in hostile_at}
    assert {drop.reason for drop in drops} == {"parser_took_too_much_memory"}
    assert {drop.num_bytes for drop in drops} == {len(http(HUNGRY_PAGE.encode()))}


def test_a_file_of_hostile_pages_alone_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(sandbox, "MAX_LOST_RECORDS", 2)
    file = crawl(tmp_path / "crawl.warc", set(range(NUM_PAGES)))
    with Sandbox(SMALL) as box:
        found = outcomes(box.read(file, "warc", LIMITS))
    assert [piece.id for piece in found[:-1]] == ["crawl#0", "crawl#1"]
    assert found[-1] == "parser_took_too_much_memory"


def test_a_member_that_takes_too_much_memory_costs_that_member_of_its_archive(tmp_path):
    path = tmp_path / "pages.zip"
    path.write_bytes(zipped({"a.html": PAGE, "b.html": HUNGRY_PAGE, "c.html": PAGE}))
    with Sandbox(SMALL) as box:
        found = list(box.read(InputFile(path, "zip", "mine", "web"), "archive", LIMITS))
    assert {piece.reason for piece in found if isinstance(piece, Drop)} == {"parser_took_too_much_memory"}
    names = [piece.id.partition("#")[2].partition("/")[0] for piece in found]  # a page is cut into numbered pieces
    assert list(dict.fromkeys(names)) == ["a.html", "b.html", "c.html"]
    assert [piece.num_bytes for piece in found if isinstance(piece, Drop)] == [len(HUNGRY_PAGE)]


TOO_MUCH = "parser_took_too_much_memory"


@pytest.mark.parametrize(
    ("name", "content", "limits", "reason"),
    [
        ("slow.html", SLOW_PAGE * 2, SandboxLimits(cpu_seconds=1), "parser_took_too_long"),  # by the processor's clock
        ("large.json", "[" + "[]," * 1_200_000 + "0]", SMALL, TOO_MUCH),
        ("large.html", "<p>" * 600_000, SMALL, TOO_MUCH),  # and is not called damaged
    ],
)
def test_a_file_that_takes_too_much_is_dropped_and_the_next_is_read(files, tmp_path, name, content, limits, reason):
    path = tmp_path / name
    path.write_text(content)
    with Sandbox(limits) as box:
        assert outcomes(box.read(InputFile(path, name, "mine", "web"), format_of(name), LIMITS)) == [reason]
        assert outcomes(box.read(files["b.html"], "html", LIMITS)) == ["not_html"]


def test_a_process_that_waits_for_ever_is_ended(files):
    with Sandbox(SandboxLimits(wall_seconds=1)) as box:
        outcomes(box.read(files["b.html"], "html", LIMITS))
        os.kill(box._worker.pid, signal.SIGSTOP)
        assert outcomes(box.read(files["a.html"], "html", LIMITS)) == ["parser_took_too_long"]


def proc(box: Sandbox, name: str) -> str:
    return Path(f"/proc/{box._worker.pid}/{name}").read_text()


@pytest.mark.skipif(not Path("/proc/self/limits").exists(), reason="no /proc")
def test_the_process_is_limited_and_knows_nothing_of_its_parents_environment(box, files, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "canary-in-the-environment")
    outcomes(box.read(files["a.html"], "html", LIMITS))
    assert "canary" not in proc(box, "environ")
    limits = {line[:26].strip(): line[26:].split()[0] for line in proc(box, "limits").splitlines()}
    assert (limits["Max core file size"], limits["Max file size"], limits["Max open files"]) == ("0", "0", "64")
    assert int(limits["Max cpu time"]) <= 63
    assert int(limits["Max address space"]) < 3 << 30


def test_closing_leaves_no_process(files):
    with Sandbox() as box:
        outcomes(box.read(files["a.html"], "html", LIMITS))
        pid = box._worker.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize("python", ["/bin/false", "/no/such/python"])
def test_a_process_that_cannot_be_started_is_an_error_that_says_so(box, files, monkeypatch, python):
    monkeypatch.setattr(sys, "executable", python)
    with pytest.raises(DataError, match=r"the process that parses files can't be started"):
        outcomes(box.read(files["a.html"], "html", LIMITS))


@pytest.mark.parametrize("answer", [{}, {"part": "", "text": 1, "meta": 5}, {"drop": "x", "part": "", "bytes": "many"}])
def test_an_answer_that_no_worker_of_ours_gives_ends_the_file(box, files, monkeypatch, answer):
    monkeypatch.setattr(sandbox._Worker, "ask", lambda self, request: iter([answer]))
    assert outcomes(box.read(files["a.html"], "html", LIMITS)) == ["parser_died"]


def test_it_works_from_another_folder_and_with_a_path_that_only_this_process_knows(files, tmp_path):
    source = Path(sandbox.__file__).parents[3]
    code = f"""
        import sys
        sys.path.insert(0, {str(source)!r})
        from headwater.runs.library.text_found import TextFound, settings_of
        found = TextFound()
        print(list(found.texts(settings_of(["a.html"]))) and found)
    """
    (tmp_path / "json.py").write_text("raise SystemExit('a module of the folder was imported')")
    done = subprocess.run(
        [sys.executable, "-I", "-c", textwrap.dedent(code)], cwd=tmp_path, capture_output=True, text=True, env={}
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1 file, ")
