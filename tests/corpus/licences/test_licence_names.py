from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.corpus.licences.names import all_of, any_of, names_holder_alone, spdx_of
from headwater.corpus.licences.texts import licence_of_head
from headwater.corpus.sources.spdx import UNKNOWN


@pytest.mark.parametrize(
    ("text", "identifier"),
    [
        ("MIT", "MIT"),
        ("The MIT License", "MIT"),
        ("Apache License, Version 2.0", "Apache-2.0"),
        ("Apache 2.0", "Apache-2.0"),
        ("BSD", "BSD-3-Clause"),
        ("The BSD 2-Clause License", "BSD-2-Clause"),
        ("GPLv3+", "GPL-3.0-or-later"),
        ("GNU General Public License v2 or later (GPLv2+)", "GPL-2.0-or-later"),
        ("GPL-2.0+", "GPL-2.0-or-later"),
        ("LGPL-2.1", "LGPL-2.1-only"),
        ("CC BY 4.0", "CC-BY-4.0"),
        ("Creative Commons Attribution-ShareAlike 3.0 Unported", "CC-BY-SA-3.0"),
        ("cc-by-nc-nd 2.0", "CC-BY-NC-ND-2.0"),
        ("https://creativecommons.org/licenses/by-sa/4.0/", "CC-BY-SA-4.0"),
        ("http://creativecommons.org/publicdomain/zero/1.0/", "CC0-1.0"),
        ("PD", "LicenseRef-public-domain"),
        ("Public domain in the USA.", "LicenseRef-public-domain"),
        ("MIT OR Apache-2.0", "MIT OR Apache-2.0"),
        ("GPL-2.0 WITH Classpath-exception-2.0", "GPL-2.0-only WITH Classpath-exception-2.0"),
        ("LicenseRef-ours", "LicenseRef-ours"),
        ("CC-BY-SA 3.0", "CC-BY-SA-3.0"),
        ("cc-by-sa-3.0", "CC-BY-SA-3.0"),
        ("CC BY 4.0 Deed", "CC-BY-4.0"),
        ("CC BY 3.0 US", "CC-BY-3.0"),
        ("Attribution 4.0 International (CC BY 4.0)", "CC-BY-4.0"),
        ("Creative Commons Attribution License 4.0", "CC-BY-4.0"),
        (
            "This work is licensed under a Creative Commons Attribution-ShareAlike 4.0 International License.",
            "CC-BY-SA-4.0",
        ),
        ("Public domain", "LicenseRef-public-domain"),
        ("CC0 1.0 Universal (CC0 1.0)", "CC0-1.0"),
        ("cc0-1.0", "CC0-1.0"),
        ("Blue Oak Model License", "BlueOak-1.0.0"),
        ("apache-2.0", "Apache-2.0"),
        ("mit or apache-2.0", "MIT OR Apache-2.0"),
        ("MIT/Apache-2.0", "MIT OR Apache-2.0"),
        ("mpl-2.0", "MPL-2.0"),
        ("bsd-3-clause", "BSD-3-Clause"),
        ("lgpl-2.1-or-later", "LGPL-2.1-or-later"),
        ("GPL-3", "GPL-3.0-only"),
        ("GNU General Public License v3 (GPLv3)", "GPL-3.0-only"),
        ("GNU Lesser General Public License v3 or later (LGPLv3+)", "LGPL-3.0-or-later"),
        ("Mozilla Public License 2.0 (MPL 2.0)", "MPL-2.0"),
        ("https://www.gnu.org/licenses/gpl-3.0.html", "GPL-3.0-only"),
        ("https://opensource.org/licenses/BSD-3-Clause", "BSD-3-Clause"),
        ("CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/)", "CC-BY-4.0"),
        ("CC BY-SA 4.0, see https://creativecommons.org/licenses/by-sa/4.0/deed.en", "CC-BY-SA-4.0"),
        (
            "This work is licensed under the Creative Commons Attribution 4.0 International License. To view a copy of "
            "this license, visit http://creativecommons.org/licenses/by/4.0/.",
            "CC-BY-4.0",
        ),
        ("licensed under <https://spdx.org/licenses/MIT.html>", "MIT"),
        ("The Unlicense (Unlicense)", "Unlicense"),
        ("This work is in the public domain in the United States of America", "LicenseRef-public-domain"),
        ("https://opensource.org/licenses/mit-0", "MIT-0"),
        ("CC-BY-3.0-US", "CC-BY-3.0-US"),
        ("all rights reserved", None),
        ("CC BY 4.0 NC", None),
        ("CC BY 4.0 International NC", None),
        ("CC-BY 4.0 sa", None),
        ("Attribution 3.0 nd", None),
        ("CC-BY-3.0-NC", None),
        ("CC-BY-3.0-ND", None),
        ("Unlicense for code, proprietary for data", None),
        ("not MIT, see https://spdx.org/licenses/MIT", None),
        ("CC BY-NC 4.0 for the text, see https://creativecommons.org/licenses/by/4.0/ for the data", None),
        ("CC BY-NC 4.0, see https://creativecommons.org/licenses/by/4.0/", None),
        ("CC BY-NC 4.0 (https://creativecommons.org/licenses/by/4.0/)", None),
        ("https://creativecommons.org/licenses/by/4.0/ for the data alone", None),
        ("https://example.org/not/creativecommons.org/licenses/by/4.0/", None),
        ("Copyright 2020 X. Based on a work in the public domain.", None),
        ("Copyright 2020 X. Commercial use forbidden. MIT", None),
        ("public domain, commercial use forbidden", None),
        ("public domain in part", None),
        ("MIT WITH Commons-Clause", None),
        ("Proprietary", None),
        ("UNLICENSED", None),
        ("Not in the public domain", None),
        ("Public domain except the pictures", None),
        ("MIT (non-commercial use)", None),
        ("CC BY 4.0 except the pictures", None),
        ("Copyright 2020 A. Writer", None),
        ("CC BY", None),
        ("MIT OR", None),
        ("", None),
        ("x" * 10_000, None),
    ],
)
def test_what_people_write_is_an_identifier(text, identifier):
    assert spdx_of(text) == identifier


@pytest.mark.parametrize(
    "text", ["a/b" + " (c)" * 110, "a" + " (c)" * 120, "MIT/" * 120, "(" * 499, "MIT AND " * 62, "© " + "A. " * 160]
)
def test_a_hostile_name_is_judged_in_few_steps(text):
    num_calls = 0

    def count(frame, event, argument):
        nonlocal num_calls
        num_calls += event == "call"

    sys.setprofile(count)
    try:
        spdx_of(text)
    finally:
        sys.setprofile(None)
    assert num_calls < 20_000, num_calls


@pytest.mark.parametrize(
    ("names", "expression"),
    [
        ([], ""),
        (["mit"], "MIT"),
        (["MIT", "Apache 2.0", "mit"], "MIT AND Apache-2.0"),
        (["MIT OR GPL-3.0", "CC-BY-NC-4.0"], "(MIT OR GPL-3.0-only) AND CC-BY-NC-4.0"),
        (["MIT", "my own"], "my own"),
        (["MIT) OR (MIT", "GPL-3.0"], "MIT) OR (MIT"),
        (["MIT", "unknown"], "unknown"),
        (["MIT", "x" * 301], "unknown"),
        (["MIT", "MIT AND " * 80 + "MIT"], "unknown"),
        ([f"LicenseRef-{n}" for n in range(50)], "unknown"),
    ],
)
def test_licences_that_all_apply_are_one_expression_or_what_is_not_understood(names, expression):
    assert all_of(names) == expression


def test_of_licences_to_choose_from_each_keeps_its_own_terms():
    assert any_of(["MIT AND ISC", "Apache-2.0", "Apache-2.0"]) == "(MIT AND ISC) OR Apache-2.0"


@pytest.mark.parametrize(
    ("text", "is_holder"),
    [
        ("Copyright 1911 A. Author", True),
        ("©2020-2021 Water & Sons, Inc.", True),
        ("Copyright (c) 2020 by the Rivers Foundation", True),
        ("Copyright 1911 A. Author. Ask me", False),
        ("Copyright 2020 A. Author. All Rights Reserved", False),
        ("© 2020 A. Author. Personal Use Only", False),
        ("Copyright 2020 A. Author. GPL", False),
        ("A. Author", False),
    ],
)
def test_who_holds_the_rights_is_no_licence(text, is_holder):
    assert names_holder_alone(text) is is_holder


@given(st.text(st.sampled_from("()MITANDORWH -+.1\n"), max_size=60))
def test_nothing_that_is_written_breaks_the_reader(text):
    spdx_of(text)


def test_a_host_that_is_called_as_a_licence_names_none():
    head = "# This module reads files that are not distributed with it; see http://curl.haxx.se/rfc/cookie_spec.html"
    assert licence_of_head(head) in (None, UNKNOWN)
    assert licence_of_head("# Licensed under the terms of https://opensource.org/licenses/MIT") == "MIT"
