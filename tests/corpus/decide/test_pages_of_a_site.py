"""Pages of one site: those that share a notice stay and lose it, those that are copies of each other go."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from small_run import prose

from headwater.corpus.load import read_documents

NO_LIMITS = {"min_words": 0, "min_characters": 0, "min_sentence_characters": 0, "min_sentences": 0}
NO_LIMITS |= {"max_short_line_fraction": None, "max_lines_per_word": None}


@pytest.fixture
def build_site(build, tmp_path):
    """Return a function that builds a corpus of pages (a folder is a site) and returns kept texts and drops."""

    def build_from(pages, **settings):
        files = {f"{name}.txt" if "/" in name else f"site/{name}.txt": text for name, text in pages.items()}
        source = {"paths": [str(tmp_path / "in")], "kind": "web"}
        manifest = build(files, sources={"mine": source}, engine={"workers": 1}, validation_fraction=1e-12, **settings)
        sheet = manifest["sources"]["mine"]
        amounts = [sheet["kept"], *sheet["dropped"].values()]
        assert [sum(amount[unit] for amount in amounts) for unit in ("documents", "bytes")] == [
            len(pages),
            sum(len(text.encode()) for text in pages.values()),
        ]
        found = [d for split in ("train", "validation") for d in read_documents(tmp_path / "corpus", split, "mine")]
        kept = {document.origin.removeprefix(f"{tmp_path}/in/")[:-4]: document.text for document in found}
        return kept, sheet["dropped"]

    return build_from


def edited(text, num_edits, seed):
    """Return a text with some of its words replaced, each alone."""
    words = text.split(" ")
    for at in random.Random(seed).sample(range(0, len(words), 12), num_edits):
        words[at] = f"edit{seed}x{at}"
    return " ".join(words)


@pytest.mark.parametrize("notice_as", ["lines", "one paragraph"])
def test_forty_pages_with_a_long_notice_are_kept_and_lose_it(build_site, notice_as):
    notice = prose("notice", 120).strip()  # a thousand words
    if notice_as == "one paragraph":
        notice = notice.replace("\n\n", " ")
    bodies = {f"{number:02d}": prose(number, 10).strip() for number in range(40)}  # ninety words each
    kept, dropped = build_site({name: f"{body}\n\n{notice}" for name, body in bodies.items()})
    assert kept == {f"site/{name}": body for name, body in bodies.items()}
    assert set(dropped) == {"boilerplate_lines"} and dropped["boilerplate_lines"]["bytes"] > 39 * len(notice)


def test_pages_too_short_to_stand_alone_are_one_page_with_the_notice(build_site):
    notice = prose("notice", 120).strip()
    pages = {f"{number:02d}": f"{prose(number, 2).strip()}\n\n{notice}" for number in range(40)}
    others = {f"other/{number}": prose(f"other {number}") for number in range(12)}
    kept, dropped = build_site({**pages, **others})
    assert kept["site/00"] == pages["00"].strip() and len(kept) == 13
    assert dropped["near_duplicate"]["documents"] == 39


def test_a_page_that_is_all_notice_is_no_reason_to_drop_the_others(build_site):
    notice = prose("notice", 120).strip()
    pages = {f"{number:02d}": f"{prose(number, 10).strip()}\n\n{notice}" for number in range(1, 40)}
    kept, _ = build_site({"00": f"Page not found.\n\n{notice}", **pages})
    assert set(kept) == {f"site/{name}" for name in pages}


@pytest.mark.parametrize("task_bytes", [30_000, 10_000_000])
def test_copies_within_a_site_are_found_by_their_own_text(build_site, task_bytes):
    notice = prose("notice", 60).strip()
    bodies = {f"{number:03d}": prose(number, 30).strip() for number in range(80)}
    copies = {f"{number:03d}": edited(bodies[f"{number - 40:03d}"], 3, number) for number in range(80, 100)}
    pages = {name: f"{body}\n\n{notice}" for name, body in {**bodies, **copies}.items()}
    kept, dropped = build_site(pages, task_bytes=task_bytes)
    assert kept == {f"site/{name}": body for name, body in bodies.items()}
    assert dropped["near_duplicate"]["documents"] == 20
    assert dropped["boilerplate_lines"]["documents"] == 0


def test_a_family_of_versions_is_one_page_and_loses_nothing(build_site):
    page = prose("page", 60).strip()
    versions = {f"{number:02d}": edited(page, 3, number) for number in range(30)}  # each line of most of them is common
    others = {f"{number}": prose(number).strip() for number in range(30, 40)}
    kept, dropped = build_site({**versions, **others})
    assert kept == {f"site/{name}": text for name, text in {"00": versions["00"], **others}.items()}
    assert dropped["near_duplicate"]["documents"] == 29


def test_a_copy_on_another_site_is_found_with_either_notice(build_site):
    bodies = [prose(number, 30).strip() for number in range(30)]
    pages = {
        f"{site}/{number:02d}": f"{body}\n\n{prose(site, 80)}" for site in "ab" for number, body in enumerate(bodies)
    }
    pages["c/00"] = edited(bodies[3], 2, 7)
    kept, _ = build_site(pages)
    assert Counter(name.split("/")[0] for name in kept) == {"a": 30}
