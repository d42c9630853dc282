from __future__ import annotations

import random

import pytest
from site_counts import SiteCounts, page_of

from headwater.corpus.document import Document
from headwater.corpus.measures.boilerplate import BoilerplateRule, line_key
from headwater.corpus.source_paths import SourcePaths
from headwater.corpus.sources.rules import BoilerplateSettings

RULE = BoilerplateRule(BoilerplateSettings(), {})
NOTICE = "This page was last changed by a robot that nobody has ever met."


def page(number, site="a"):
    rng = random.Random(f"{site} {number}")
    body = [f"Sentence {rng.random()} of page {number} on {site}." for _ in range(12)]
    body.insert(4, "Parameters")
    body.insert(8, NOTICE)
    return "\n".join(["Home", "Up", f"Page {number}", *body, "See also", "Imprint"])


def counts(pages, **settings):
    found = SiteCounts(BoilerplateSettings(**settings))
    for text, site in pages:
        found.add(text, site)
    return found


def test_headers_footers_and_long_notices_are_cut_and_headings_and_text_stay():
    pages = [(page(number), "a") for number in range(20)]
    text, cut = counts(pages).cut(*pages[7])
    assert cut.split("\n") == ["Home", "Up", NOTICE, "See also", "Imprint"]
    assert text.split("\n")[0] == "Page 7"
    assert "Parameters" in text
    assert sum("Sentence" in line for line in text.split("\n")) == 12


CODE = """import os

def main():
    print(os.name)
    return 0

main()"""


@pytest.mark.parametrize(
    "code", [CODE, 'fn main() {\n    println!("Hello");\n}', "$ cargo build", '{\n  "name": "x",\n  "size": 1\n}']
)
def test_code_that_many_pages_show_is_left_as_it_is(code):
    pages = [(f"Home\n\n{code}\n\n{page(number)}", "a") for number in range(20)]
    text, cut = counts(pages).cut(*pages[3])
    assert code in text and "Home" in cut


def own(number):
    return f"own {number}\n" * 4


@pytest.mark.parametrize(
    ("num_alike", "num_others", "settings", "is_cut"),
    [
        (9, 0, {"min_share": 0.01}, False),
        (10, 0, {"min_share": 0.01}, True),
        (6, 14, {"min_pages": 2, "min_share": 0.3}, True),
        (6, 15, {"min_pages": 2, "min_share": 0.3}, False),
    ],
)
def test_fewer_pages_or_a_smaller_share_than_the_least_make_no_boilerplate(num_alike, num_others, settings, is_cut):
    pages = [(page(number), "a") for number in range(num_alike)] + [(own(number), "a") for number in range(num_others)]
    assert bool(counts(pages, **settings).cut(*pages[0])[1]) == is_cut


def test_headings_below_the_beginning_of_the_text_and_marks_without_letters_stay():
    common = {"Home", "Description", "?>", "•"}
    lines = ["Home", "•", "fclose", "Closes a file", "PHP 8", "Description", *(f"line {n}" for n in range(40)), "?>"]
    keys = {line_key(line, "a") for line in common}
    assert RULE.without(page_of("\n".join(lines), "a"), keys)[1] == "Home"


def test_a_short_page_is_not_cut_at_both_edges_until_nothing_is_left():
    page = page_of("\n".join(["Description", "Returns true.", "Parameters", "None."]), "a")
    kept, cut = RULE.without(page, set(RULE.keys(page)))
    assert (kept.split("\n"), cut.split("\n")) == (["Returns true.", "Parameters"], ["Description", "None."])
    short = page_of("one\ntwo", "a")
    assert RULE.without(short, set(RULE.keys(short))) == ("one\ntwo", "")


def document(origin, **meta):
    return Document("text", "docs", origin, origin, "web", meta)


def test_a_site_is_the_host_or_the_first_folder_below_the_path():
    site_of = BoilerplateRule(BoilerplateSettings(), {"docs": SourcePaths(["pages", "more/*/html"])}).site_of
    assert site_of(document("pages/x.html", site="example.org")) == "example.org"
    assert site_of(document("pages/one/deep/x.html")) == site_of(document("pages/one/y.html"))
    assert site_of(document("pages/one/x.html")) != site_of(document("pages/two/x.html"))
    assert site_of(document("pages/x.html")) == site_of(document("pages/y.html"))
    assert site_of(document("pages/x.html")) != site_of(document("more/one/html/x.html"))
    assert site_of(document("more/one/html/x.html")) == site_of(document("more/one/html/y/z.html"))
