"""What a text states, and what it takes back: restricted licences must not pass for the ones that they are made of."""

from __future__ import annotations

import gzip
import json
import re
import sys
from pathlib import Path

import licenseclassifier
import pytest
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


PATTERNS = json.loads(
    gzip.decompress((Path(licenseclassifier.__file__).parent / "_engine/licenses.json.gz").read_bytes())
)
TEXTS = {each["id"]: text_of(each["lre"]).lower() for each in reversed(PATTERNS) if each.get("lre")}
PERMISSIVE = allowed_patterns(["permissive"])
APACHE_NOTICE = (
    'Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except in compliance with '
    "the License. You may obtain a copy of the License at http://www.apache.org/licenses/LICENSE-2.0 Unless required by "
    'applicable law or agreed to in writing, software distributed under the License is distributed on an "AS IS" BASIS, '
    "WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied."
)
GPL = "it under the terms of the GNU General Public License as published by\n# the Free Software Foundation; "
HEADS = {
    "MIT": TEXTS["MIT"],
    "ISC": TEXTS["ISC"],
    "BSD-2-Clause": TEXTS["BSD-2-Clause"],
    "BSD-3-Clause": TEXTS["BSD-3-Clause"],
    "Apache-2.0": APACHE_NOTICE,
    "MPL-2.0": "This Source Code Form is subject to the terms of the Mozilla Public\n * License, v. 2.0.",
    "GPL-3.0-or-later": f"# {GPL}either version 3 of the License, or\n# (at your option) any later version.",
    "GPL-2.0-only": f"/* {GPL}version 2. */",
    "LGPL-2.1-or-later": "under the terms of the GNU Lesser General Public License as published by the Free Software "
    "Foundation; either version 2.1 of the License, or (at your option) any later version",
    "GPL-2.0-or-later": "You may use version 2 or later of the GNU General Public License.",
    "GPL-1.0-or-later": "This is distributed under the terms of the GNU General Public License.",
    "LicenseRef-public-domain": "This file has been placed in the public domain.",
    "CC-BY-SA-4.0": "Licensed under the Creative Commons Attribution-ShareAlike 4.0 International License.",
    "BSD-3-Clause OR GPL-2.0-only": "Dual licensed under the BSD 3-Clause License or the GNU GPL v2",
}


@pytest.mark.parametrize("identifier", HEADS)
def test_a_notice_is_recognised_however_it_is_wrapped(identifier):
    head = HEADS[identifier]
    assert licence_of_head(head) == identifier
    assert licence_of_head("\n".join(f"# {word}" for word in head.upper().split())) == identifier


CHANGED_BSD = """Copyright (c) 2020, Rivers Foundation

Redistribution and use in source and binary forms, with or without modification, are permitted provided that the
following conditions are met:
 * Redistributions in binary form must reproduce the above
copyright notice, this list of conditions and the following disclaimer in the documentation.
 * {}

THIS SOFTWARE IS PROVIDED "AS IS" AND ANY EXPRESS OR IMPLIED WARRANTIES, INCLUDING, BUT NOT LIMITED TO, NON-INFRINGEMENT
ARE DISCLAIMED. IN NO EVENT SHALL RIVERS OR WOODS BE LIABLE FOR ANY DIRECT OR INDIRECT DAMAGES.
"""


@pytest.mark.parametrize(
    ("clause", "licence"),
    [
        ("For academic use.", "unknown"),
        ("Neither this software nor any of its components may be sold by itself.", "unknown"),
        ("Redistributions have to be free.", "unknown"),
    ],
)
def test_a_text_of_sentences_of_permissive_licences_is_what_it_grants_but_for_any_other_clause(clause, licence):
    assert licence_of_text(CHANGED_BSD.format(clause)) == licence
    assert licence_of_head("".join(f"# {line}\n" for line in CHANGED_BSD.format(clause).split("\n"))) == licence


COMMONS_CLAUSE = (
    '"Commons Clause" License Condition v1.0. The Software is provided to you by the Licensor under the License, as '
    "defined below, subject to the following condition. Without limiting other conditions in the License, the grant of "
    "rights under the License will not include, and the License does not grant to you, the right to Sell the Software."
)
# D3 of the review of November 2026, and their like: each was, or may be, taken for a permissive licence
NARROWED = {
    "BUSL with a Change License": TEXTS["BUSL-1.1"].replace(
        "change license", "change license apache license version 2 0", 1
    ),
    "the parameters of a BUSL": "Business Source License 1.1\nLicensor: X Inc.\nLicensed Work: X 3.0\nAdditional Use Grant: None\n"
    "Change Date: 2029-01-01\nChange License: Apache License, Version 2.0",
    "Commons Clause over Apache": f"{COMMONS_CLAUSE}\n{TEXTS['Apache-2.0']}",
    "Commons Clause over a notice": f"{APACHE_NOTICE} with the Commons Clause",
    "MIT for research": TEXTS["MIT"].replace(
        "free of charge", "free of charge for non-commercial research purposes only"
    ),
    "BSD for academics": TEXTS["BSD-2-Clause"].replace(
        "are permitted", "for non-commercial academic purposes only are permitted"
    ),
    "JSON": TEXTS["JSON"],
    "Good, not Evil": f"{TEXTS['MIT']} The Software shall be used for Good, not Evil.",
    "not in the public domain": "This work has not been released to the public domain and remains proprietary.",
    "an algorithm of the public domain": "# Sorts by an algorithm of C. Hoare that is in the public domain.",
    "nothing granted": TEXTS["MIT"].replace("permission is hereby granted", "permission is not granted"),
    "no selling": TEXTS["MIT"].replace("sell ", ""),
    "no modification": TEXTS["BSD-3-Clause"].replace("with or without modification", "without modification"),
    "for evaluation": f"For evaluation only. After 30 days a licence must be bought.\n{TEXTS['ISC']}",
    "no grant": TEXTS["BSD-2-Clause"].split("following conditions are met")[1],
    "another licence behind": f"{TEXTS['MIT']}\nThe images are licensed under the Acme Source License.",
    "another text behind": f"{TEXTS['MIT']}\nThe licensee agrees to pay for each copy.",
    "exceptions": "Licensed under the MIT License, except for the fonts.",
    "within a region": TEXTS["MIT"].replace("hereby granted", "hereby granted within the European Union"),
    "to members": TEXTS["BSD-2-Clause"].replace("redistribution and use", "redistribution and use by our members"),
    "against payment": TEXTS["MIT"].replace("the following conditions", "payment and the following conditions"),
    "what is sold": f"{TEXTS['Zlib']} Neither this software nor any of its components may be sold by itself.",
    "the GPL beside": f"{TEXTS['MIT']}\nThe server is under the GPL.",
}


@pytest.mark.parametrize("name", NARROWED)
def test_what_is_narrowed_down_is_not_permissive(name):
    text = NARROWED[name]
    for found in (licence_of_text(text), licence_of_head(text)):
        assert found is None or not is_allowed(found, PERMISSIVE), found


# what takes back what a permissive licence gives, in languages that nothing here knows, and what only says more
REMARKS = [
    *("Nur für den privaten Gebrauch.", "Kommerzielle Nutzung ist untersagt.", "Usage commercial interdit."),
    *("Prohibido el uso comercial.", "Solo para uso personal.", "Somente para fins de pesquisa."),
    *("Vietato l'uso commerciale.", "Alleen voor persoonlijk gebruik.", "Zakaz użytku komercyjnego."),
    *(
        "Ticari kullanım yasaktır.",
        "Endast för privat bruk.",
        "Pouze pro osobní potřebu.",
        "Vain yksityiseen käyttöön.",
    ),
    *("Chỉ dùng cho mục đích cá nhân.", "Dilarang untuk komersial.", "Только для личного использования."),
    *(
        "Комерційне використання заборонено.",
        "Μόνο για προσωπική χρήση.",
        "禁止商用",
        "仅供个人学习使用，不得用于商业目的。",
    ),
    *("個人的な利用に限ります。", "상업적 이용 금지", "يمنع الاستخدام التجاري", "אסור לשימוש מסחרי."),
    *("केवल निजी उपयोग के लिए।", "ห้ามใช้ในเชิงพาณิชย์", "Redistribution is up to Acme."),
    *("Void where the user is a competitor of Acme.", "Scraping this repository for datasets voids everything above."),
    *("Schools get it for nothing, others at list price.", "Copyright 2024 Example. This is unpublished work."),
    *(
        "Hospitals need a separate agreement.",
        "This grant ends in 2025.",
        "Some files are under the licence of Elastic.",
    ),
    *("It is yours to try for thirty days.", "Anemone, a fast parser of tables that streams."),
]
PLACES = {
    "before": "{remark}\n\n{licence}",
    "after": "{licence}\n\n{remark}",
    "below the holder": "Copyright (c) 2020 Acme\n{remark}\n{licence}",
    "beside the holder": "Copyright (c) 2020 Acme, {remark}\n\n{licence}",
    "behind the holder": "{licence}\nCopyright 2020 Acme {remark}",
}


@settings(max_examples=150, deadline=None)
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


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        (f"Copyright (c) 2020 A. Writer\n\n{TEXTS['MIT']}", "MIT"),
        (TEXTS["MIT"].replace("authors or copyright holders", "authors of Anemone"), "MIT"),
        (TEXTS["BSD-3-Clause"].replace("copyright holder", "Rivers Foundation"), "BSD-3-Clause"),
        (f"For commercial and non-commercial use.\n{TEXTS['MIT']}", "MIT"),
        ("This project is licensed under the terms of the MIT license. See LICENSE.", "MIT"),
        ("Distributed under the OSI-approved BSD 3-Clause License.", "BSD-3-Clause"),
        (f"{TEXTS['MIT']}\n\n{TEXTS['Zlib']}", "MIT AND Zlib"),
        (f"You may use this under either of two licences.\n{TEXTS['MIT']}\n{TEXTS['Apache-2.0']}", "MIT OR Apache-2.0"),
        ("\n\n".join([TEXTS["MIT"]] * 5), "MIT"),
        (
            TEXTS["BSD-3-Clause"].replace("neither the name of the copyright holder", "neither the name of Acme"),
            "BSD-3-Clause",
        ),
        ("Dual-licensed under the MIT License and the GNU GPL version 2.", "MIT OR GPL-2.0-only"),
        (
            "GNU General Public License version 2. You may use the GNU General Public License version 2 or later.",
            "GPL-2.0-or-later",
        ),
        ("Licensed under the GNU General Public License version 2 or MIT or " * 1000, "GPL-2.0-only OR MIT"),
        ("licensed under mit or apache 2.0 or " * 3000, "MIT OR Apache-2.0"),
        ("Licensed under the Apache License v2.0 with LLVM Exceptions.", "Apache-2.0 WITH LLVM-exception"),
        (
            "Available under the MIT license or the Apache 2.0 license.\nContributions to it are made under the terms of "
            "both these licenses.",
            "MIT OR Apache-2.0",
        ),
        (
            "Licensed under the Apache License, Version 2.0.\n\nUnless required by applicable law or agreed to in writing, "
            'software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS '
            "OF ANY KIND, either express or implied.",
            "Apache-2.0",
        ),
        (f"Software License Agreement (BSD License)\n\n{TEXTS['BSD-3-Clause']}", "BSD-3-Clause"),
        (TEXTS["ISC"].replace("copyright", "Copyright (c) 2020 A. Writer <writer at rivers dot org>\n", 1), "ISC"),
        ("A tale of two cities", None),
        ("Permission is granted to those who ask.", "unknown"),
    ],
)
def test_what_takes_nothing_back_leaves_a_licence_as_it_is(text, expression):
    assert licence_of_text(text) == expression


def test_no_restricted_text_of_the_list_is_permissive():
    wrong = {
        name: found
        for name, text in TEXTS.items()
        if is_expression(name)
        and not is_allowed(name, PERMISSIVE)
        and (found := licence_of_text(text))
        and is_allowed(found, PERMISSIVE)
    }
    assert not wrong


def test_code_that_speaks_of_no_licence_has_none():
    assert licence_of_head("import os\n\n\ndef permission(x):\n    return x.granted and x.licence\n") is None


@pytest.mark.skipif(not COMMON.is_dir(), reason="needs Debian's licence texts")
@pytest.mark.parametrize(
    ("name", "identifier"),
    [
        ("GPL-1", "GPL-1.0-only"), ("GPL-2", "GPL-2.0-only"), ("GPL-3", "GPL-3.0-only"), ("LGPL-2", "LGPL-2.0-only"),
        ("LGPL-2.1", "LGPL-2.1-only"), ("LGPL-3", "LGPL-3.0-only"), ("Apache-2.0", "Apache-2.0"), ("MPL-2.0", "MPL-2.0"),
        ("MPL-1.1", "MPL-1.1"), ("GFDL-1.3", "GFDL-1.3-only"), ("CC0-1.0", "CC0-1.0"),
        ("BSD", "BSD-3-Clause"), ("Artistic", "Artistic-1.0-Perl"),
    ],
)  # fmt: skip
def test_the_texts_that_debian_ships_are_distinguished(name, identifier):
    path = COMMON / name
    if not path.exists():
        pytest.skip(f"no {path}")
    assert licence_of_text(path.read_text(errors="replace")) == identifier


def test_without_the_patterns_no_licence_is_judged(monkeypatch):
    monkeypatch.setitem(sys.modules, "licenseclassifier", None)
    with pytest.raises(ImportError):
        licence_of_head(TEXTS["Sleepycat"])
