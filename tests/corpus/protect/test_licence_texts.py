from __future__ import annotations

from pathlib import Path

import pytest

from headwater.corpus.protect.licence_texts import licence_of_head, licence_of_text, licence_tag

COMMON = Path("/usr/share/common-licenses")

GPL = "it under the terms of the GNU General Public License as published by\n# the Free Software Foundation; "
HEADS = {
    "MIT": "Permission is hereby granted, free of charge, to any person obtaining\n a copy of this software … The above "
    "copyright notice and this permission notice shall be included in all copies",
    "ISC": "Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is hereby "
    "granted, provided that the above copyright notice and this permission notice appear in all copies.",
    "BSD-2-Clause": "Redistribution and use in source and binary forms, with or without modification, are permitted",
    "BSD-3-Clause": "Redistribution and use in source and binary forms … Neither the name of X may be used to endorse or "
    "promote products derived from it",
    "Apache-2.0": '// Licensed under the Apache License, Version 2.0 (the "License");',
    "MPL-2.0": "This Source Code Form is subject to the terms of the Mozilla Public\n * License, v. 2.0.",
    "GPL-3.0-or-later": f"# {GPL}either version 3 of the License, or\n# (at your option) any later version.",
    "GPL-2.0-only": f"/* {GPL}version 2. */",
    "LGPL-2.1-or-later": "under the terms of the GNU Lesser General Public License as published by the Free Software "
    "Foundation; either version 2.1 of the License, or (at your option) any later version",
    "GPL-2.0-or-later": "You may use version 2 or later of the GNU General Public License.",
    "GPL-1.0-or-later": "This is distributed under the terms of the GNU General Public License.",
    "LicenseRef-public-domain": "This file has been placed in the public domain.",
    "CC-BY-SA-4.0": "Licensed under the Creative Commons Attribution-ShareAlike 4.0 International License.",
}


@pytest.mark.parametrize("identifier", HEADS)
def test_a_notice_is_recognised_however_it_is_wrapped(identifier):
    head = HEADS[identifier]
    assert licence_of_head(head) == identifier
    assert licence_of_head("\n".join(f"# {word}" for word in head.upper().split())) == identifier


def test_two_licences_apply_both_unless_there_is_a_choice():
    both = f"{HEADS['MIT']}\n\n{HEADS['Apache-2.0']}"
    assert licence_of_text(both) == "MIT AND Apache-2.0"
    assert licence_of_text(f"You may use this under either of two licences.\n{both}") == "MIT OR Apache-2.0"


def test_code_that_speaks_of_no_licence_has_none():
    assert licence_of_head("import os\n\n\ndef permission(x):\n    return x.granted and x.licence\n") is None


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("// SPDX-License-Identifier: MIT\n", "MIT"),
        ("/* SPDX-License-Identifier: GPL-2.0 */", "GPL-2.0-only"),
        ("# SPDX-License-Identifier: (MIT OR Apache-2.0)", "(MIT OR Apache-2.0)"),
        (
            "<!-- SPDX-License-Identifier: GPL-2.0+ WITH Linux-syscall-note -->",
            "GPL-2.0-or-later WITH Linux-syscall-note",
        ),
        ("# SPDX-License-Identifier: nothing such", "unknown"),
        ("# SPDX-License-Identifier: MIT and more text", "unknown"),
        ("# SPDX-License-Identifier: MIT AND BUSL-1.1", "unknown"),
        ("# SPDX-License-Identifier: MIT (the words of it)", "MIT"),
        ("# SPDX-License-Identifier: " + "MIT AND " * 30 + "GPL-3.0", "unknown"),
        ("# SPDX-License-Identifier: MIT\n# SPDX-License-Identifier: GPL-3.0", "MIT AND GPL-3.0-only"),
        ("# SPDX-License-Identifier: BUSL-1.1\n# SPDX-License-Identifier: MIT", "unknown"),
        ("# SPDX-License-Identifier: BUSL-1.1", "unknown"),
        ("print('SPDX-License-Identifier: ' + name)", None),
        ("\n" * 20 + "# SPDX-License-Identifier: MIT", None),
    ],
)
def test_a_tag_is_read_where_a_file_begins(text, expression):
    assert licence_tag(text, 10) == expression


@pytest.mark.skipif(not COMMON.is_dir(), reason="needs Debian's licence texts")
@pytest.mark.parametrize(
    ("name", "identifier"),
    [
        ("GPL-1", "GPL-1.0-only"), ("GPL-2", "GPL-2.0-only"), ("GPL-3", "GPL-3.0-only"), ("LGPL-2", "LGPL-2.0-only"),
        ("LGPL-2.1", "LGPL-2.1-only"), ("LGPL-3", "LGPL-3.0-only"), ("Apache-2.0", "Apache-2.0"), ("MPL-2.0", "MPL-2.0"),
        ("MPL-1.1", "MPL-1.1"), ("GFDL-1.2", "GFDL-1.2-only"), ("GFDL-1.3", "GFDL-1.3-only"), ("CC0-1.0", "CC0-1.0"),
        ("BSD", "BSD-3-Clause"), ("Artistic", "Artistic-1.0-Perl"),
    ],
)  # fmt: skip
def test_the_texts_that_debian_ships_are_distinguished(name, identifier):
    path = COMMON / name
    if not path.exists():
        pytest.skip(f"no {path}")
    assert licence_of_text(path.read_text(errors="replace")) == identifier
