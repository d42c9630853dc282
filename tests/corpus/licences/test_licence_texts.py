"""What a text states, and what it takes back: restricted licences must not pass for the ones that they are made of."""

from __future__ import annotations

import csv
import re
import sys
import textwrap
from pathlib import Path

import pytest
from golden_rows import rows
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headwater.core.errors import ConfigError
from headwater.corpus.licences.files import stated
from headwater.corpus.licences.heads import licence_of_head
from headwater.corpus.licences.texts import licence_of_text, patterns_version
from headwater.corpus.sources.spdx import allowed_patterns, is_allowed

HERE, COMMON = Path(__file__).parent, Path("/usr/share/common-licenses")
TEXTS = dict(each.split("\n", 1) for each in re.split(r"^% ", (HERE / "licences.txt").read_text(), flags=re.M)[1:])
PERMISSIVE = allowed_patterns(["permissive"])


def full(text):
    """Return a text with the words of the licences that it names between two %."""
    return re.sub(r"%([\w.-]+)%", lambda name: TEXTS[name[1]], text)


def comment(text):
    return "".join(f"# {line}\n" for line in text.split("\n")) + "import os\n"


def is_permissive(found):
    return found not in (None, "unknown", "refused") and is_allowed(found, PERMISSIVE)


@pytest.mark.parametrize("name", TEXTS)
def test_a_licence_as_it_is_written_is_known(name):
    assert stated("LICENSE", TEXTS[name].encode()) == name
    assert licence_of_head(comment(TEXTS[name])) == name


# ---- 49 restricted licences in 12 languages, by somebody who hadn't read the rules


def restricted(licence, place, sentence):
    paragraphs = TEXTS[licence].strip().split("\n\n")
    at = {"title": 0, "copyright": 1, "after_copyright": 1, "first": 0, "middle": 3, "last": len(paragraphs)}.get(place)
    if place in ("first", "middle", "last"):
        paragraphs.insert(at, sentence)
    elif at is None:  # within the longest paragraph, behind its first sentence
        at = max(range(len(paragraphs)), key=lambda each: len(paragraphs[each]))
        paragraphs[at] = re.sub(r"\.\s", f". {sentence} ", paragraphs[at], count=1)
    else:
        paragraphs[at] += {"title": " ", "copyright": ". ", "after_copyright": "\n"}[place] + sentence
    return "\n\n".join(paragraphs)


RESTRICTED = list(csv.reader((HERE / "restricted.tsv").read_text().splitlines()[1:], delimiter="\t"))


@pytest.mark.parametrize(("language", "licence", "place", "sentence"), RESTRICTED)
def test_a_restricted_licence_in_any_language_is_not_permissive(language, licence, place, sentence):
    assert not is_permissive(stated("LICENSE", restricted(licence, place, sentence).encode()))


def test_at_most_one_of_49_restricted_heads_passes():
    heads = [comment(restricted(*row[1:])) for row in RESTRICTED]
    passing = [row for row, head in zip(RESTRICTED, heads) if is_permissive(licence_of_head(head))]
    assert len(passing) <= 1, passing


REMARKS = [remark for (remark,) in rows("licence_remarks")]
PLACES = {
    "before": "{remark}\n\n{licence}",
    "after": "{licence}\n\n{remark}",
    "below the holder": "Copyright (c) 2020 Acme\n{remark}\n{licence}",
    "beside the holder": "Copyright (c) 2020 Acme, {remark}\n\n{licence}",
    "behind the holder": "{licence}\nCopyright 2020 Acme {remark}",
}


@settings(max_examples=150)
@given(
    remark=st.sampled_from(REMARKS),
    name=st.sampled_from(sorted(TEXTS)),
    place=st.sampled_from(sorted(PLACES)) | st.integers(1, 80),
    spell=st.sampled_from([str, str.lower]),
)
@example(remark="Kommerzielle Nutzung ist untersagt.", name="MIT", place="after", spell=str)
@example(remark="禁止商用", name="ISC", place="beside the holder", spell=str)
@example(remark="禁止商用", name="MIT", place=17, spell=str)
def test_a_remark_in_any_language_leaves_a_licence_file_unknown(remark, name, place, spell):
    words = TEXTS[name].split(" ")
    at = place if isinstance(place, int) else 0
    shape = PLACES.get(place, " ".join([*words[:at], "{remark}", *words[at:]]).replace("{}", ""))
    assert not is_permissive(stated("LICENSE", shape.format(remark=spell(remark), licence=TEXTS[name]).encode()))


NARROWED = [TEXTS[name].replace(words, others, 1) for name, words, others in rows("licence_changed")]
NARROWED += [text for (text,) in rows("licence_narrowed")]


@pytest.mark.parametrize("text", NARROWED)
def test_what_is_narrowed_down_is_not_permissive(text):
    for found in (licence_of_text(full(text)), licence_of_head(comment(full(text)))):
        assert not is_permissive(found), found


MANY = [("licensed under mit or apache 2.0 or " * 3000, "MIT OR Apache-2.0"), ("x" * 1_000_001, "unknown")]


@pytest.mark.parametrize(("text", "expression"), [*rows("licence_texts"), *MANY])
def test_a_text_states_what_it_names_where_it_says_nothing_more(text, expression):
    assert licence_of_text(full(text)) == expression


@pytest.mark.parametrize(("notice", "identifier"), rows("licence_notices"))
def test_a_notice_is_recognised_however_it_is_wrapped(notice, identifier):
    for width in (40, 60, 90):
        paragraphs = [
            textwrap.fill(each, width, break_long_words=False, break_on_hyphens=False)
            for each in full(notice).split("\n\n")
        ]
        assert licence_of_head(comment("\n\n".join(paragraphs))) == identifier


@pytest.mark.parametrize(("head", "licence"), rows("licence_heads"))
def test_the_head_of_code_states_what_it_names_and_what_speaks_of_rights_takes_it_back(head, licence):
    assert licence_of_head(head) == licence


@pytest.mark.parametrize(
    "name", ["GPL-2", "GPL-3", "LGPL-2.1", "LGPL-3", "Apache-2.0", "MPL-2.0", "CC0-1.0", "Artistic"]
)
def test_the_texts_that_debian_ships_are_distinguished(name):
    if not (path := COMMON / name).exists():
        pytest.skip(f"no {path}")
    full_name = {"Artistic": "Artistic-1.0-Perl"}.get(name, name)
    assert (licence_of_text(path.read_text(errors="replace")) or "").replace(".0-only", "").startswith(full_name)


def test_without_the_package_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "licenseclassifier", None)
    with pytest.raises(ConfigError, match=r"headwater\[corpus\]"):
        patterns_version()


NOTICE = "/**\n * A key handler\n *\n * @license http://opensource.org/licenses/mit-license.html MIT License\n * @link http://x.org\n */\n"


@pytest.mark.parametrize("sentence", [sentence for (sentence,) in rows("licence_limits")])
def test_a_sentence_that_limits_use_leaves_code_unknown_wherever_in_the_comment_it_is(sentence):
    description = "# Sorts the keys of a table and prints them in the order in which they were added.\n" * 12
    before, behind = f"# {sentence}\n#\n{NOTICE}", f"# Licensed under MIT.\n{description}# {sentence}\n"
    for text in (NOTICE + f"# {sentence}\n", before, behind):
        assert licence_of_head(f"{text}import os\n") == "unknown"


COMMENTS = rows("comment_signs")
NESTING = [each for each in COMMENTS if each[0] in ("{-", "(*", "#|", "#=")]


@pytest.mark.parametrize(("opening", "closing"), COMMENTS)
@pytest.mark.parametrize("before", ["", "# Keys.\n", "/* Keys. */\n"])
def test_a_comment_of_several_lines_is_read_to_its_end_and_no_further(before, opening, closing):
    notice = f"{before}{opening}\n\nLicensed under the MIT License.\nHello page of ours.\n"
    code = "import os\nkeys = may_not_sell(x)  # may not be used with other keys, only with a licence key\n"
    assert licence_of_head(f"{notice}You may not sell this software.\n{closing}\n{code}") == "unknown"
    assert licence_of_head(f"{notice}{closing}\n\n{code}") == "MIT"


@pytest.mark.parametrize(("opening", "closing"), NESTING)
@pytest.mark.parametrize("between", [" Keys. ", "\nKeys.\n"])
def test_a_comment_inside_a_comment_does_not_end_it(opening, closing, between):
    inner = f"{opening}{between}{closing}\nHello.\nYou may not sell this software.\n{closing}\n"
    assert licence_of_head(f"{opening}\nLicensed under the MIT License.\n{inner}import os\n") == "unknown"


@pytest.mark.parametrize(
    ("holder", "is_known"),
    [
        ("2014-2016 mozillazg", True),
        ("2019-present boiawang", True),
        ("2018 noncommercial", False),
        ("2018 vertraulich", False),
        ("2018 subscribers", False),
        ("mozillazg", False),  # without a year one plain word is no name
        ("2014 our customers", False),
    ],
)
def test_a_holder_may_be_one_plain_word_behind_a_year(holder, is_known):
    terms = TEXTS["MIT"][TEXTS["MIT"].index("Permission") :]
    assert is_permissive(stated("LICENSE", f"Copyright (c) {holder}\n\n{terms}".encode())) == is_known
