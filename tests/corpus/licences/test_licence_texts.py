"""What a text states, and what it takes back: restricted licences must not pass for the ones that they are made of.

What beside a notice at the head of code takes it back: code is described in words that limit.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
from pathlib import Path

import licenseclassifier
import pytest
from golden_rows import rows
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headwater.corpus.licences.files import stated
from headwater.corpus.licences.texts import licence_of_head, licence_of_text
from headwater.corpus.sources.spdx import allowed_patterns, is_allowed, is_expression

COMMON = Path("/usr/share/common-licenses")


def text_of(pattern):
    """Return a text that a pattern of licenseclassifier stands for: the first of what may be chosen, all that may be left out."""
    text = re.sub(r"//\*\*.*?\*\*//", " ", pattern, flags=re.DOTALL)
    while "((" in text:
        text = re.sub(r"\(\(((?:(?!\(\(|\)\)).)*)\)\)(?:\?\?)?", lambda m: m[1].split("||")[0], text, flags=re.DOTALL)
    return " ".join(re.sub(r"__\d+__", " ", text).split())


PATTERNS = Path(licenseclassifier.__file__).parent / "_engine/licenses.json.gz"
LISTED = json.loads(gzip.decompress(PATTERNS.read_bytes()))
TEXTS = {each["id"]: text_of(each["lre"]).lower() for each in reversed(LISTED) if each.get("lre")}
PERMISSIVE = allowed_patterns(["permissive"])


def full(text):
    """Return a text with the words of the licences that it names between two %."""
    return re.sub(r"%([\w.-]+)%", lambda name: TEXTS[name[1]], text)


@pytest.mark.parametrize(("notice", "identifier"), rows("licence_notices"))
def test_a_notice_is_recognised_however_it_is_wrapped(notice, identifier):
    head = full(notice)
    assert licence_of_head(head) == identifier
    assert licence_of_head("\n".join(f"# {word}" for word in head.upper().split())) == identifier


@pytest.mark.parametrize(("head", "licence"), rows("licence_heads"))
def test_the_head_of_code_states_what_it_names_and_only_what_speaks_of_rights_takes_it_back(head, licence):
    assert licence_of_head(head) == licence


MANY = [
    ("Licensed under the GNU General Public License version 2 or MIT or " * 1000, "GPL-2.0-only OR MIT"),
    ("licensed under mit or apache 2.0 or " * 3000, "MIT OR Apache-2.0"),
    (TEXTS["ISC"].replace("copyright", "Copyright (c) 2020 A. Writer <writer at rivers dot org>\n", 1), "ISC"),
]


@pytest.mark.parametrize(("text", "expression"), [*rows("licence_texts"), *MANY])
def test_what_takes_nothing_back_leaves_a_licence_as_it_is(text, expression):
    assert licence_of_text(full(text)) == expression


BSD = """Copyright (c) 2020, Rivers Foundation

Redistribution and use in source and binary forms, with or without modification, are permitted provided that the
following conditions are met:
 * Redistributions in binary form must reproduce the above
copyright notice, this list of conditions and the following disclaimer in the documentation.
 * {}

THIS SOFTWARE IS PROVIDED "AS IS" AND ANY EXPRESS OR IMPLIED WARRANTIES, INCLUDING, BUT NOT LIMITED TO, NON-INFRINGEMENT
ARE DISCLAIMED. IN NO EVENT SHALL RIVERS OR WOODS BE LIABLE FOR ANY DIRECT OR INDIRECT DAMAGES.
"""
CLAUSES = [
    "For academic use.",
    "Neither this software nor any of its components may be sold.",
    "Redistributions have to be free.",
]


@pytest.mark.parametrize("clause", CLAUSES)
def test_a_text_of_sentences_of_permissive_licences_is_unknown_with_any_other_clause(clause):
    assert licence_of_text(BSD.format(clause)) == "unknown"
    assert licence_of_head("".join(f"# {line}\n" for line in BSD.format(clause).split("\n"))) == "unknown"


APACHE_NOTICE = full(next(notice for notice, name in rows("licence_notices") if name == "Apache-2.0"))
COMMONS_CLAUSE = (
    '"Commons Clause" License Condition v1.0. The Software is provided to you by the Licensor under the License, as '
    "defined below, subject to the following condition. Without limiting other conditions in the License, the grant of "
    "rights under the License will not include, and the License does not grant to you, the right to Sell the Software."
)
BUSL = (
    "Business Source License 1.1\nLicensor: X Inc.\nLicensed Work: X 3.0\nAdditional Use Grant: None\nChange Date: "
    "2029-01-01\nChange License: Apache License, Version 2.0"
)
# a licence's text and what is changed in it, each once taken for a permissive licence, and their like
CHANGED = [
    ("BUSL-1.1", "change license", "change license apache license version 2 0"),
    ("MIT", "free of charge", "free of charge for non-commercial research purposes only"),
    ("BSD-2-Clause", "are permitted", "for non-commercial academic purposes only are permitted"),
    ("MIT", "permission is hereby granted", "permission is not granted"),
    ("MIT", "sell ", ""),
    ("BSD-3-Clause", "with or without modification", "without modification"),
    ("MIT", "hereby granted", "hereby granted within the European Union"),
    ("BSD-2-Clause", "redistribution and use", "redistribution and use by our members"),
    ("MIT", "the following conditions", "payment and the following conditions"),
    ("JSON", "", ""),
]
NARROWED = [
    *(TEXTS[name].replace(words, others, 1) for name, words, others in CHANGED),
    BUSL,
    f"{COMMONS_CLAUSE}\n%Apache-2.0%",
    f"{APACHE_NOTICE} with the Commons Clause",
    "%MIT% The Software shall be used for Good, not Evil.",
    "This work has not been released to the public domain and remains proprietary.",
    "# Sorts by an algorithm of C. Hoare that is in the public domain.",
    "For evaluation only. After 30 days a licence must be bought.\n%ISC%",
    TEXTS["BSD-2-Clause"].split("following conditions are met")[1],
    "%MIT%\nThe images are licensed under the Acme Source License.",
    "%MIT%\nThe licensee agrees to pay for each copy.",
    "Licensed under the MIT License, except for the fonts.",
    "%Zlib% Neither this software nor any of its components may be sold by itself.",
    "%MIT%\nThe server is under the GPL.",
]


@pytest.mark.parametrize("text", NARROWED)
def test_what_is_narrowed_down_is_not_permissive(text):
    for found in (licence_of_text(full(text)), licence_of_head(full(text))):
        assert found is None or not is_allowed(found, PERMISSIVE), found


# what takes back what a permissive licence gives, in languages that nothing here knows, and what only says more
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
    name=st.sampled_from(["MIT", "ISC", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0", "Zlib"]),
    place=st.sampled_from(sorted(PLACES)) | st.integers(1, 80),
    spell=st.sampled_from([str, str.upper, str.lower]),
)
@example(remark="Kommerzielle Nutzung ist untersagt.", name="MIT", place="after", spell=str)
@example(remark="Kommerzielle Nutzung ist untersagt.", name="Apache-2.0", place=19, spell=str)
@example(remark="禁止商用", name="ISC", place="beside the holder", spell=str)
def test_a_remark_in_any_language_leaves_a_licence_file_unknown(remark, name, place, spell):
    """But for one in large letters amid a licence's own text, which looks like a name there."""
    spell = str if isinstance(place, int) and spell is str.upper else spell
    words = TEXTS[name].split(" ")
    at = place if isinstance(place, int) else 0
    shape = PLACES.get(place, " ".join([*words[:at], "{remark}", *words[at:]]).replace("{}", ""))
    text = shape.format(remark=spell(remark), licence=TEXTS[name])
    found = stated("LICENSE", text.encode())
    assert found is None or not is_allowed(found, PERMISSIVE), found


def test_no_restricted_text_of_the_list_is_permissive():
    """All of the package's texts are judged, which takes ten seconds: any may be the one that is mistaken."""
    restricted = [name for name in TEXTS if is_expression(name) and not is_allowed(name, PERMISSIVE)]
    found = {name: licence_of_text(TEXTS[name]) for name in restricted}
    assert not {name: licence for name, licence in found.items() if licence and is_allowed(licence, PERMISSIVE)}


@pytest.mark.skipif(not COMMON.is_dir(), reason="needs Debian's licence texts")
@pytest.mark.parametrize(
    ("name", "identifier"),
    [
        *((f"GPL-{n}", f"GPL-{n}.0-only") for n in (1, 2, 3)),
        *((name, f"{name}.0-only") for name in ("LGPL-2", "LGPL-3")),
        *((name, f"{name}-only") for name in ("LGPL-2.1", "GFDL-1.3")),
        *((name, name) for name in ("Apache-2.0", "MPL-2.0", "MPL-1.1", "CC0-1.0")),
        *(("BSD", "BSD-3-Clause"), ("Artistic", "Artistic-1.0-Perl")),
    ],
)
def test_the_texts_that_debian_ships_are_distinguished(name, identifier):
    path = COMMON / name
    if not path.exists():
        pytest.skip(f"no {path}")
    assert licence_of_text(path.read_text(errors="replace")) == identifier


def test_without_the_patterns_no_licence_is_judged(monkeypatch):
    monkeypatch.setitem(sys.modules, "licenseclassifier", None)
    with pytest.raises(ImportError):
        licence_of_head(TEXTS["Sleepycat"])


# ---- heads of code: a notice, and beside it a sentence that limits use, or describes code

NOTICE = "/**\n * A key handler\n *\n * @license http://opensource.org/licenses/mit-license.html MIT License\n * @link http://x.org\n */\n"
LIMITS_USE = [
    *("Production needs a paid plan.", "Companies must obtain written approval first.", "For internal use only."),
    *("Hosting it as a service requires permission.", "Deployment needs a subscription.", "Not for use in production."),
    *(
        "May not be used in military or medical products.",
        "Redistribution is not permitted.",
        "The algorithm is patented.",
    ),
    *("You may not offer it as a managed service.", "Only members of the consortium may use it."),
    *("Use is subject to the Acme terms of service.", "Commercial licenses can be purchased."),
    *("Companies need a separate licence.", "Please don't share this outside the team."),
]


@pytest.mark.parametrize("sentence", LIMITS_USE)
def test_a_sentence_that_limits_use_leaves_code_unknown_wherever_in_the_comment_it_is(sentence):
    description = "# Sorts the keys of a table and prints them in the order in which they were added.\n" * 12
    before, behind = f"# {sentence}\n#\n{NOTICE}", f"# Licensed under MIT.\n{description}# {sentence}\n"
    for text in (NOTICE + f"# {sentence}\n", before, behind):
        assert licence_of_head(f"{text}import os\n") == "unknown"


@pytest.mark.parametrize("behind", ["for schools.", "for schools", "of which the press may print some."])
def test_words_behind_a_name_that_are_not_known_to_say_nothing_leave_it_unknown(behind):
    assert licence_of_text(f"Licensed under the MIT License {behind}") == "unknown"


@pytest.mark.parametrize("family", ["Elastic", "Amazon Software", "Acme Source"])
def test_a_notice_of_another_licence_is_not_taken_for_apaches(family):
    notice = (
        f"You may not use this file except in compliance with the {family} License. You may obtain a copy of it below."
    )
    for name in ("Apache-2.0", "MIT"):
        assert licence_of_text(f"{notice}\n\n{TEXTS[name]}") == "unknown"
    assert licence_of_head(f"# Licensed under the MIT License.\n#\n# {notice}\nimport os\n") == "unknown"


DESCRIBES = ["Do not use it directly, one may not know.", "Lazy evaluation.", "Exceptions used here only."]
LIMITS_DOCUMENTED = ["May not be used in commercial products.", "For academic use only.", "No part of it may be sold."]
LIMITS_DOCUMENTED += ["These rights are for one team only."]
DOCUMENTS = [
    '"""{}"""\nimport os',
    "//! {}\nuse os;",
    "/// {}\nuse os;",
    "/** {} */\nint x;",
    "/**\n * {}\n */\nint x;",
]


@pytest.mark.parametrize("comment", DOCUMENTS)
def test_documentation_of_code_takes_nothing_back_but_where_it_speaks_of_use_or_rights(comment):
    for sentences, licence in ((DESCRIBES, "MIT"), (LIMITS_DOCUMENTED, "unknown")):
        for sentence in sentences:
            assert licence_of_head(f"// Licensed under MIT.\n\n{comment.format(sentence)}") == licence
    assert licence_of_head(comment.format("Licensed under MIT.")) == "MIT"


NESTING = [("{-", "-}"), ("(*", "*)"), ("#|", "|#"), ("#=", "=#")]
COMMENTS = [
    *(("/*", "*/"), ("<!--", "-->"), ('"""', '"""'), ("r'''", "'''"), ("--[[", "]]"), ("#[[", "]]"), ("<#", "#>")),
    *(*NESTING, ("=begin", "=end"), ("=pod", "=cut"), ("=head1 KEYS", "=cut")),
]


@pytest.mark.parametrize(("opening", "closing"), COMMENTS)
@pytest.mark.parametrize("before", ["", "# Keys.\n", "-- Keys.\n\n", "/* Keys. */\n"])
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
