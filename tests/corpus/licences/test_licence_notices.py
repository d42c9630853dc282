"""Tags, and prose that reserves its rights."""

from __future__ import annotations

import pytest

from headwater.corpus.licences.notices import licence_tag, restricts_use


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("// SPDX-License-Identifier: MIT\n", "MIT"),
        ("/* SPDX-License-Identifier: GPL-2.0 */", "GPL-2.0-only"),
        ("# SPDX-License-Identifier: (MIT OR Apache-2.0)", "MIT OR Apache-2.0"),
        (
            "<!-- SPDX-License-Identifier: GPL-2.0+ WITH Linux-syscall-note -->",
            "GPL-2.0-or-later WITH Linux-syscall-note",
        ),
        ("# SPDX-License-Identifier: nothing such", "unknown"),
        (" * SPDX-License-Identifier: Apache-2.0.\n */", "Apache-2.0"),
        ("# SPDX-License-Identifier: MIT and more text", "unknown"),
        ("# SPDX-License-Identifier: MIT AND BUSL-1.1", "MIT AND BUSL-1.1"),
        ("# SPDX-License-Identifier: MIT AND Ours-1.1", "unknown"),
        ("# SPDX-License-Identifier: MIT (the words of it)", "MIT"),
        ("# SPDX-License-Identifier: " + "MIT AND " * 30 + "GPL-3.0", "unknown"),
        ("# SPDX-License-Identifier: MIT\n# SPDX-License-Identifier: GPL-3.0", "MIT AND GPL-3.0-only"),
        ("# SPDX-License-Identifier: Ours-1.1\n# SPDX-License-Identifier: MIT", "unknown"),
        ("print('SPDX-License-Identifier: ' + name)", None),
        ("\n" * 20 + "# SPDX-License-Identifier: MIT", None),
    ],
)
def test_a_tag_is_read_where_a_file_begins(text, expression):
    assert licence_tag(text, 10) == expression


@pytest.mark.parametrize(
    ("head", "restricts"),
    [
        ("Copyright 2001 A. Writer. All rights reserved.", True),
        ("Copyright 1920 A. Writer. All rights reserved.", False),
        ("Copyright, 1920\nAll rights reserved.", False),
        ("© A. Writer\nAll rights reserved.", True),
        ("1925 Copyright A. Writer. All rights reserved.", False),
        ("First printed 1919, 1921. © A. Writer. All rights reserved.", False),
        ("1925\nAll rights reserved.", False),
        ("1925, 2001 Copyright A. Writer. All rights reserved.", True),
        ("1925 Copyright (c) 2001 A. Writer. All rights reserved.", True),
        ("A tale of 1812. By B. Author, copyright. All rights reserved.", True),
        ("© 1920 A. Writer. All rights reserved. New edition © 2001, all rights reserved.", True),
        ("All rights reserved.", True),
        ("They said that all rights reserved to the crown were lost.", False),
        (f"Copyright 2001\n{'x' * 90} all rights reserved", False),
        (f"© 2001 {'x' * 300} all rights reserved", False),
        ("©" * 6000, False),
        ("©" * 5900 + " all rights reserved", True),
    ],
)
def test_prose_that_reserves_all_rights_beside_a_sign_of_copyright_is_restricted(head, restricts):
    assert restricts_use(head) is restricts
