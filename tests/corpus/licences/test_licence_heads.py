"""What the head of code states, and what beside a notice there takes it back: code is described in words that limit."""

from __future__ import annotations

import pytest
from test_licence_texts import TEXTS

from headwater.corpus.licences.texts import licence_of_head, licence_of_text

HEAD = "/**\n * A key handler\n *\n * @license http://opensource.org/licenses/mit-license.html MIT License\n * @link http://x.org\n */\n"


def test_code_behind_the_comment_that_states_a_licence_takes_nothing_back():
    code = "namespace Only\\Keys;\n\nuse Crypt\\DES;\n\n// not used any more\nuse Crypt\\Exception;\n"
    assert licence_of_head(HEAD + code) == licence_of_head(f"<?php\n{HEAD}{code}") == "MIT"


@pytest.mark.parametrize("said", ["For non-commercial use only.", "Proprietary and confidential."])
def test_a_comment_further_down_that_reserves_the_rights_counts(said):
    assert licence_of_head(f"{HEAD}import os\n\n# {said}\n") == "unknown"


@pytest.mark.parametrize(
    "sentence",
    [
        *("Production needs a paid plan.", "Companies must obtain written approval first."),
        *("Hosting it as a service requires permission.", "Deployment needs a subscription."),
        "For internal use only.",
        "May not be used in military or medical products.",
        "Not for use in production.",
        "Redistribution is not permitted.",
        "You may not offer it as a managed service.",
        "Only members of the consortium may use it.",
        "Use is subject to the Acme terms of service.",
        "Commercial licenses can be purchased.",
        "The algorithm is patented.",
        "Companies need a separate licence.",
        "Please don't share this outside the team.",
    ],
)
def test_a_sentence_that_limits_use_leaves_code_unknown_wherever_in_the_comment_it_stands(sentence):
    description = "# Sorts the keys of a table and prints them in the order in which they were added.\n" * 12
    for text in (
        HEAD + f"# {sentence}\n",
        f"# {sentence}\n#\n{HEAD}",
        f"# Licensed under MIT.\n{description}# {sentence}\n",
    ):
        assert licence_of_head(f"{text}import os\n") == "unknown"


def test_that_a_notice_has_to_stay_is_what_any_licence_requires():
    required = (
        "# Any modifications or derivative works of this code must retain this\n# copyright notice, and modified files need "
        "to carry a notice indicating\n# that they have been altered from the originals.\n"
    )
    assert (
        licence_of_head(f"# This code is licensed under the Apache License, Version 2.0.\n#\n{required}")
        == "Apache-2.0"
    )


def test_a_name_that_goes_on_is_another_licence():
    assert licence_of_head("/*!\n * Licensed under the Fair Use License: https://x.org/LICENSE.md\n */\n") is None
    assert licence_of_head("# Licensed under the Fair License.\n") == "Fair"
    assert licence_of_head("/* (c) 2017 Acme Labs AB, MIT Licensed. */\n") == "MIT"
    assert licence_of_head("/* (c) 2017 Acme Labs AB, not MIT licensed. */\n") == "unknown"


@pytest.mark.parametrize("behind", ["for schools.", "for schools", "of which the press may print some."])
def test_words_behind_a_name_that_are_not_known_to_say_nothing_leave_it_unknown(behind):
    assert licence_of_head(f"# Licensed under the MIT License {behind}\nimport os\n") == "unknown"
    assert licence_of_text(f"Licensed under the MIT License {behind}") == "unknown"


def test_a_line_that_is_a_licences_name_states_it():
    assert licence_of_head("/*\n  Reads tables.\n\n  Copyright 2020 Acme\n  MIT License\n*/\nint x;\n") == "MIT"
    assert licence_of_head("/*\n  Reads tables as the MIT license does.\n*/\nint x;\n") is None


@pytest.mark.parametrize(
    "notice",
    [
        "Reads tables | (c) 2012 A. Writer | MIT License",
        "MIT License | (c) A. Writer 2012-2015",
        "(C) 2010 A. Writer\n * MIT LICENCE",
        "Copyright (c) 2011, A. Writer (MIT License)",
        "tables - MIT License (c) 2022 A. Writer (writer.org)",
        "MIT License <https://writer.org/LICENSE.md>",
        "MIT License http://www.opensource.org/licenses/mit-license.php\n\tAuthor A. Writer @writer",
        "Copyright 2011 Rivers Foundation and contributors\n * Licensed under the MIT license. See LICENSE or:",
        "(c) 2015 A. Writer <http://writer.org>. License: writer.mit-license.org",
    ],
)
def test_a_licences_name_is_found_beside_its_holder(notice):
    assert licence_of_head(f"/*!\n * {notice}\n */\nint x;\n") == "MIT"


def test_code_that_assigns_a_licence_names_it_and_other_code_takes_nothing_back():
    assert licence_of_head('"""Tables."""\n\nimport os\n\n__license__ = "MIT"\nkeys = "must not be used"\n') == "MIT"
    code = (
        'var keys = "must be a table before using it";\n\n/**\n * Licensed under the MIT license.\n */\nx = "keep";\n'
    )
    assert licence_of_head(f"/*! tables.js v1 */\n{code}") == "MIT"


@pytest.mark.parametrize(
    "sentence",
    [
        "In practice many tables are used only by keys.",
        "It is not recommended for direct use.",
        "No side effects.",
        "It should only be used as a base type.",
        "Lazy evaluation of tables.",
        "Copyright Acme Limited, All Rights Reserved.",
    ],
)
def test_what_describes_code_beside_a_notice_takes_nothing_back(sentence):
    assert licence_of_head(f"// Licensed under the MIT License.\n//\n// {sentence}\n\nint x;\n") == "MIT"


def test_a_directive_of_c_ends_the_comment_at_the_head():
    code = "#include <keys.h>\n#define KEYS 2\n/* may only be used with other keys */\nint x;\n"
    assert licence_of_head(f"// Licensed under the MIT License.\n\n{code}") == "MIT"


@pytest.mark.parametrize("family", ["Elastic", "Amazon Software", "Acme Source"])
def test_a_notice_of_another_licence_is_not_taken_for_apaches(family):
    notice = "You may not use this file except in compliance with the {} License. You may obtain a copy of it below."
    for text in (TEXTS["Apache-2.0"], TEXTS["MIT"]):
        assert licence_of_text(f"{notice.format(family)}\n\n{text}") == "unknown"
    assert licence_of_head(f"# Licensed under the MIT License.\n#\n# {notice.format(family)}\nimport os\n") == "unknown"


def test_a_docstring_that_states_a_licence_is_a_comment():
    code = "import os\n\n\ndef f():\n    # may not be used with other keys, only with a licence key\n    return 1\n"
    assert licence_of_head(f'"""Keys.\n\nLicensed under the MIT license.\n"""\n\n{code}') == "MIT"


@pytest.mark.parametrize(
    "comment",
    ['"""{}"""\nimport os', "//! {}\nuse os;", "/// {}\nuse os;", "/** {} */\nint x;", "/**\n * {}\n */\nint x;"],
)
def test_documentation_of_code_takes_nothing_back_but_where_it_speaks_of_use_or_rights(comment):
    for described in ("Do not use it directly, one may not know.", "Lazy evaluation.", "Exceptions used here only."):
        assert licence_of_head(f"// Licensed under MIT.\n\n{comment.format(described)}") == "MIT"
    for limited in (
        "May not be used in commercial products.",
        "For academic use only.",
        "No part of it may be sold.",
        "These rights are for one team only.",
    ):
        assert licence_of_head(f"// Licensed under MIT.\n\n{comment.format(limited)}") == "unknown"
    assert licence_of_head(comment.format("Licensed under MIT.")) == "MIT"


@pytest.mark.parametrize(
    ("opening", "closing"),
    [
        *[("/*", "*/"), ("<!--", "-->"), ('"""', '"""'), ("r'''", "'''"), ("--[[", "]]"), ("#[[", "]]"), ("#|", "|#"), ("#=", "=#")],
        *[("<#", "#>"), ("{-", "-}"), ("(*", "*)"), ("=begin", "=end"), ("=pod", "=cut"), ("=head1 KEYS", "=cut")],
    ],
)  # fmt: skip
@pytest.mark.parametrize("before", ["", "# Keys.\n", "-- Keys.\n\n", "/* Keys. */\n"])
def test_a_comment_of_several_lines_is_read_to_its_end_and_no_further(before, opening, closing):
    notice = f"{before}{opening}\n\nLicensed under the MIT License.\nHello page of ours.\n"
    code = "import os\nkeys = may_not_sell(x)  # may not be used with other keys, only with a licence key\n"
    assert licence_of_head(f"{notice}You may not sell this software.\n{closing}\n{code}") == "unknown"
    assert licence_of_head(f"{notice}{closing}\n\n{code}") == "MIT"


@pytest.mark.parametrize(("opening", "closing"), [("{-", "-}"), ("(*", "*)"), ("#|", "|#"), ("#=", "=#")])
def test_a_comment_inside_a_comment_does_not_end_it(opening, closing):
    for inner in (f"{opening} Keys. {closing}", f"{opening}\nKeys.\n{closing}"):
        text = (
            f"{opening}\nLicensed under the MIT License.\n{inner}\nHello.\nYou may not sell this software.\n{closing}\n"
        )
        assert licence_of_head(f"{text}import os\n") == "unknown"
