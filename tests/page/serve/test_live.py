"""What the live page and the page of documents ask for."""

from __future__ import annotations

import os

import asking
import pytest
from fake_run import add, step, validation
from golden_rows import rows
from live_server import Opened, serving
from read_picture import picture

from headwater.corpus.load import balance_of, list_sources
from headwater.page.serve.live import DOCUMENTS_A_PAGE, FollowedRun, compared
from headwater.page.serve.serving import make_app
from headwater.runfile.paths import Folders
from headwater.runs.summary import RunsFolder
from headwater.tokens.tokenizer.tokenizer import Tokenizer


def test_the_score_is_that_of_all_held_out_text_once_a_finished_run_is_evaluated(tmp_path):
    run_dir, folder, found = tmp_path / "mine", RunsFolder(tmp_path), []
    records, evaluation = run_dir / "records.jsonl", run_dir / "evaluation.json"

    def look() -> None:
        (summary,) = folder.summaries()
        figure = picture(run_dir).values["figures"][0]
        found.append((summary.cells[4], figure["value"], figure["note"][0]))

    add(records, step(20), validation(20, 1.303))
    look()
    evaluation.write_text('{"bits_per_byte": {"all": 1.271}}')  # of the shorter run that this one was
    os.utime(evaluation, (1e8, 1e8))
    look()
    add(records, {"event": "finish", "attempt": 1, "step": 20})
    look()
    evaluation.unlink()
    look()
    sample = ("1.303 (sample)", "1.303", "a sample of held-out text; lower is better")
    assert found == [sample, sample, ("1.271 (all)", "1.271", "held-out text; lower is better"), sample]


def test_runs_are_read_by_one_thread_at_a_time(tmp_path, monkeypatch):
    run, is_locked = FollowedRun(tmp_path), []
    monkeypatch.setattr(run.log, "poll", lambda: is_locked.append(run.lock.locked()))
    compared({"mine": run}, [])
    run.picture(None)
    assert is_locked == [True, True]


HOSTILE_NAME = "<img src=x onerror='window.ran = 1'>\u202e"


@pytest.fixture(scope="module")
def runs(finished, tmp_path_factory):
    folder = tmp_path_factory.mktemp("documents")
    for name in ("mine", HOSTILE_NAME):
        (folder / name).symlink_to(finished.run_dir)
    return folder


@pytest.fixture(scope="module")
def app(runs):
    return make_app(runs)


def test_every_document_is_listed_once_with_what_became_of_it(app, finished):
    corpus = Folders(finished.run_dir).corpus
    for source in list_sources(corpus):
        found, start = [], 0
        while True:
            answer = asking.post(app, "/documents/list", {"run": "mine", "source": source, "start": start}).json()
            found += answer["documents"]
            start += DOCUMENTS_A_PAGE
            if not answer["has_more"]:
                break
        kept = [each for each in found if each["reason"] is None]
        assert len(kept) == balance_of(corpus)["sources"][source]["kept"]["documents"]
        assert len({(each["slice"], each["record"]) for each in found}) == len(found)
        assert sum(answer["decisions"].values()) == len(found)


def test_a_document_is_shown_with_its_text_columns_and_tokens(app, finished):
    source = list_sources(Folders(finished.run_dir).corpus)[0]
    question = {"run": "mine", "source": source}
    (first, *_) = asking.post(app, "/documents/list", question | {"decision": "kept"}).json()["documents"]
    place = {name: first[name] for name in ("slice", "record")}
    found = asking.post(app, "/documents/show", question | place).json()
    assert found["characters"] == found["columns"]["characters"] > 0
    tokenizer = Tokenizer.load(Folders(finished.run_dir).tokenizer)
    tokens = [tokenizer.token_bytes(token).decode(errors="replace") for token in tokenizer.encode(found["text"])]
    assert len(found["tokens"]) == min(len(tokens), 2000) and "".join(tokens).startswith(found["tokens"][0])


@pytest.mark.parametrize(("path", "question", "status"), rows("what_is_not_there_is_refused_in_words"))
def test_what_is_not_there_is_refused_in_words(app, path, question, status):
    answer = asking.post(app, f"/documents/{path}", question)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["message"]


def test_the_page_lists_documents_and_shows_one(open_page, runs):
    with serving(make_app(runs)) as address:
        page = open_page(f"{address}documents", Opened)
        page.tab.wait_for_selector("#found li button")
        page.tab.click("#found li:first-child button")
        page.tab.wait_for_selector("#one h2")
        assert page.tab.locator("#one .tokens .piece").count() > 0
        assert not page.tab.evaluate("window.ran")
        assert page.errors == [] == page.foreign_requests
