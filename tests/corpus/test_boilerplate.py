from __future__ import annotations

import random

import numpy as np
import pytest

from headwater.corpus.boilerplate import (
    SiteCounts,
    boilerplate_keys,
    boilerplate_spans,
    line_key,
    line_units,
    page_key,
    site_of,
    tops_of,
)
from headwater.corpus.document import Document
from headwater.corpus.settings import BoilerplateSettings

NOTICE = "This page was last changed by a robot that nobody has ever met."


def page(number, site="a"):
    rng = random.Random(f"{site} {number}")
    body = [f"Sentence {rng.random()} of page {number} on {site}." for _ in range(12)]
    body.insert(4, "Parameters")
    body.insert(8, NOTICE)
    return "\n".join(["Home", "Up", f"Page {number}", *body, "See also", "Imprint"])


def cutter(pages, **settings):
    """Return what cuts a page of those given: the text that is left, and the lines that are not."""
    chosen = BoilerplateSettings(**settings)
    counts = SiteCounts(chosen)
    for text, site in pages:
        counts.add(text, site)
    common = counts.common()
    return lambda text, site: cut(text, site, common, chosen)


def cut(text, site, common, settings):
    spans = boilerplate_spans(text, site, common, settings)
    kept, at = [], 0
    for start, end in spans:
        kept.append(text[at:start])
        at = end + 1
    return "".join([*kept, text[at:]]), [text[start:end] for start, end in spans]


def test_headers_footers_and_long_notices_are_cut_and_headings_and_text_stay():
    pages = [(page(number), "a") for number in range(20)]
    text, lines = cutter(pages)(*pages[7])
    assert lines == ["Home", "Up", NOTICE, "See also", "Imprint"]
    assert text.split("\n")[0] == "Page 7"
    assert "Parameters" in text
    assert sum("Sentence" in line for line in text.split("\n")) == 12


def test_a_line_of_another_site_is_not_boilerplate_here():
    pages = [(page(number), "a") for number in range(20)] + [("Home\nmy own page\n" * 1 + "x\n" * 9, "b")]
    assert cutter(pages)(*pages[-1]) == (pages[-1][0], [])


@pytest.mark.parametrize(("on", "is_cut"), [(9, False), (10, True)])
def test_fewer_pages_than_the_least_make_no_boilerplate(on, is_cut):
    pages = [(page(number), "a") for number in range(on)]
    assert bool(cutter(pages, min_share=0.01)(*pages[0])[1]) == is_cut


@pytest.mark.parametrize(("others", "is_cut"), [(14, True), (15, False)])
def test_a_smaller_share_than_the_least_makes_no_boilerplate(others, is_cut):
    pages = [(page(number), "a") for number in range(6)] + [(f"own {number}\n" * 4, "a") for number in range(others)]
    assert bool(cutter(pages, min_pages=2, min_share=0.3)(*pages[0])[1]) == is_cut


def test_a_line_repeated_on_one_page_counts_once():
    pages = [("menu\n" * 50 + "text", "a")] + [(f"page {number}\nof its own", "a") for number in range(5)]
    assert cutter(pages, min_pages=2, min_share=0.1)(*pages[0])[1] == []
    assert len({key for key, _, _ in line_units("menu\n menu \n\nmenu", "a")}) == 2, "the page and its line"


def test_the_order_of_pages_changes_nothing():
    pages = [(page(number, site), site) for number in range(15) for site in "ab"]
    shuffled = random.Random(1).sample(pages, len(pages))
    one, other = cutter(pages), cutter(shuffled)
    assert [one(*each) for each in pages] == [other(*each) for each in pages]


class Everything:
    def __contains__(self, key):
        return True


def test_headings_below_the_beginning_of_the_text_and_marks_without_letters_stay():
    common = {line_key(line, "a") for line in ("Home", "Description", "?>", "•")}
    lines = ["Home", "•", "fclose", "Closes a file", "PHP 8", "Description", *(f"line {n}" for n in range(40)), "?>"]
    assert cut("\n".join(lines), "a", common, BoilerplateSettings())[1] == ["Home"]


def test_a_short_page_is_not_cut_at_both_edges_until_nothing_is_left():
    text = "\n".join(["Description", "Returns true.", "Parameters", "None."])
    assert cut(text, "a", Everything(), BoilerplateSettings()) == (
        "Returns true.\nParameters\n",
        ["Description", "None."],
    )
    assert cut("one\ntwo", "a", Everything(), BoilerplateSettings()) == ("one\ntwo", [])


def test_pages_needed_are_a_share_rounded_up_and_never_fewer_than_the_least():
    def is_common(on, pages, **settings):
        keys = np.array([page_key("a"), line_key("Home", "a")], dtype=np.uint64)
        return len(boilerplate_keys(keys, np.array([pages, on]), BoilerplateSettings(**settings))) == 1

    for pages, least in ((5, 3), (9, 3), (10, 3), (11, 4), (100, 30)):
        assert is_common(least, pages, min_pages=3, min_share=0.3), (pages, least)
        assert not is_common(least - 1, pages, min_pages=3, min_share=0.3), (pages, least)
    assert is_common(7, 100, min_pages=2, min_share=0.07), "0.07 × 100 is 7.000000000000001"


def test_the_keys_of_a_site_lie_together_and_its_pages_come_first():
    sites = [f"site {number}" for number in range(50)]
    keys = sorted(key for site in sites for key in [page_key(site), *(line_key(f"line {n}", site) for n in range(20))])
    for start in range(0, len(keys), 21):
        assert keys[start] in {page_key(site) for site in sites}
        assert len({key >> 40 for key in keys[start : start + 21]}) == 1


def document(origin, **meta):
    return Document("text", "docs", origin, origin, "web", meta)


def test_a_site_is_the_host_or_the_first_folder_below_the_path():
    tops = tops_of(["pages", "more/*/html"])
    assert tops == ["more/", "pages/"]
    assert site_of(document("pages/x.html", site="example.org"), tops) == "example.org"
    assert site_of(document("pages/one/deep/x.html"), tops) == site_of(document("pages/one/y.html"), tops)
    assert site_of(document("pages/one/x.html"), tops) != site_of(document("pages/two/x.html"), tops)
    assert site_of(document("pages/x.html"), tops) == site_of(document("pages/y.html"), tops)
    assert site_of(document("pages/x.html"), tops) != site_of(document("more/one/html/x.html"), tops)
    assert site_of(document("more/one/html/x.html"), tops) == site_of(document("more/one/html/y/z.html"), tops)
