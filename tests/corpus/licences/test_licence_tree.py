from __future__ import annotations

import pytest

from headwater.corpus.document import Document, Drop
from headwater.corpus.licences.tree import TreeLicences, with_licence

MIT = "Licensed under the MIT License."
APACHE = "Apache License\nVersion 2.0, January 2004"
GPL_3 = "GNU GENERAL PUBLIC LICENSE\nVersion 3, 29 June 2007"
LGPL_3 = "GNU LESSER GENERAL PUBLIC LICENSE\nVersion 3, 29 June 2007"


@pytest.fixture
def licence_of(tmp_path):
    """Return a function: the licence of a file in a tree of other files."""

    def find(files, name, top="top"):
        for each, text in files.items():
            path = tmp_path / each
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        path = tmp_path / name
        return TreeLicences([str(tmp_path / top)]).found_for(path, str(path))[0]

    return find


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"top/LICENSE": MIT}, "MIT"),
        ({"top/COPYING.md": MIT}, "MIT"),
        ({"top/licence.txt": MIT}, "MIT"),
        ({"top/LICENSE": MIT, "top/a/LICENSE": APACHE}, "Apache-2.0"),
        ({"top/LICENSE": MIT, "top/other/LICENSE": APACHE}, "MIT"),
        ({"top/a/LICENSE": "Ask me.", "top/LICENSE": MIT}, "unknown"),
        ({"top/a/LICENSE": "", "top/LICENSE": MIT}, "MIT"),
        ({"top/a/LICENSE.images": "Ask me.", "top/LICENSE": MIT}, "MIT"),
        ({"top/LICENSE-MIT": MIT, "top/LICENSE-APACHE": APACHE}, "Apache-2.0 OR MIT"),
        ({"top/LICENSE-MIT": MIT, "top/LICENSE-OURS": "Ask us."}, "unknown"),
        ({"top/LICENSE": MIT, "top/LICENSE.third-party": APACHE}, "MIT"),
        ({"top/LICENSE": MIT, "top/LICENSE-3RD-PARTY.md": "All rights reserved."}, "MIT"),
        ({"top/LICENSE": MIT, "top/LICENSE-ENTERPRISE": "All rights reserved."}, "unknown"),
        ({"top/LICENSE": MIT, "top/COPYING": "Please see the file LICENSE."}, "MIT"),
        ({"top/COPYING": "Please see the file LICENSE."}, "unknown"),
        ({"top/LICENSE": MIT, "top/a/LICENSE": "../LICENSE"}, "MIT"),
        ({"top/LICENSE": "Ask me.", "top/a/package.json": '{"license": "ISC"}'}, "unknown"),
        ({"top/a/package.json": '{"license": "ISC"}'}, "ISC"),
        ({"top/COPYING": GPL_3, "top/COPYING.LESSER": LGPL_3}, "LGPL-3.0-only"),
        ({"top/license.py": MIT}, None),
        ({"LICENSE": MIT, "top/README": "x"}, None),
        ({}, None),
    ],
)
def test_the_nearest_licence_file_up_to_the_path_that_was_named_counts(licence_of, files, found):
    assert licence_of(files, "top/a/b.py") == found


def test_beside_a_single_file_that_was_named_nothing_is_searched(licence_of):
    assert licence_of({"top/LICENSE": MIT}, "top/b.py", top="top/b.py") is None


def test_a_pattern_names_what_stands_before_it(licence_of):
    assert licence_of({"top/LICENSE": MIT}, "top/a/b.py", top="top/**/*.py") == "MIT"


def test_a_text_that_names_its_own_licence_keeps_it(tmp_path):
    (tmp_path / "LICENSE").write_text(MIT)
    pieces = [
        Document("text", "s", "1", "o", "web", {"licence": "CC-BY-4.0"}),
        Document("text", "s", "2", "o", "code"),
        Drop("empty", "s", "3", "o", 0),
    ]
    path = tmp_path / "x.py"
    marked = [with_licence(piece, *TreeLicences([str(tmp_path)]).found_for(path, str(path))) for piece in pieces]
    assert [piece.meta["licence"] for piece in marked[:2]] == ["CC-BY-4.0", "MIT"]
    assert marked[2] is pieces[2]
