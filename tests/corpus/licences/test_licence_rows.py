"""Names, expressions, manifests and tags: a table each (`tests/golden/rows`), one runner; then what nobody wrote."""

from __future__ import annotations

import json
import sys

import pytest
from golden_rows import rows
from hypothesis import given
from hypothesis import strategies as st

from headwater.corpus.document import Document, Drop
from headwater.corpus.licences.files import MANIFESTS, is_licence_file, of_debian_copyright, stated
from headwater.corpus.licences.names import all_of, any_of, names_holder_alone, spdx_of
from headwater.corpus.licences.step import licence_tag, restricts_use
from headwater.corpus.licences.tree import TreeLicences, with_licence


def of_debian(name):
    return of_debian_copyright(
        f"Format: x\n\nFiles: debian/*\nLicense: ISC\n\nFiles: *\nLicense: {name}\n the text of it\n"
    )


FUNCTIONS = {
    "licence_names": spdx_of,
    "licence_expressions": all_of,
    "licence_holders": names_holder_alone,
    "manifests": lambda name, text: MANIFESTS[name](text),
    "debian_names": of_debian,
    "tags": lambda text: licence_tag(text, 10),
    "reserved": restricts_use,
}


@pytest.mark.parametrize(
    ("table", "given", "expected"), [(name, given, last) for name in FUNCTIONS for *given, last in rows(name)]
)
def test_a_function_gives_what_its_table_says(table, given, expected):
    assert FUNCTIONS[table](*given) == expected


def test_of_licences_to_choose_from_each_keeps_its_own_terms():
    assert any_of(["MIT AND ISC", "Apache-2.0", "Apache-2.0"]) == "(MIT AND ISC) OR Apache-2.0"


def test_copyright_in_free_prose_is_unknown():
    assert of_debian_copyright("This is the Debian prepackaged version of something.\n\nIt is free.\n") == "unknown"


HOSTILE = ["a/b" + " (c)" * 110, "MIT/" * 120, "(" * 499, "MIT AND " * 62, "© " + "A. " * 160, "x" * 10_000]


@pytest.mark.parametrize("text", HOSTILE)
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


@pytest.mark.parametrize("behind", ["", " all rights reserved"])
def test_signs_of_copyright_without_end_are_read_in_one_pass(behind):
    assert restricts_use("©" * 5900 + behind) is bool(behind)
    assert not restricts_use(f"© 2001 {'x' * 300} all rights reserved")


@given(
    st.text(max_size=200) | st.text(st.sampled_from('()MITANDORWH -+.1\n{}[]:,"'), max_size=60),
    st.sampled_from(sorted(MANIFESTS)),
)
def test_no_text_breaks_a_manifests_reader_or_the_reader_of_names(text, name):
    MANIFESTS[name](text)
    MANIFESTS["package.json"](json.dumps({"license": [{"type": text}, [text]]}))
    spdx_of(text)


def test_nesting_without_end_names_nothing_that_is_understood():
    assert MANIFESTS["package.json"]('{"license":' + "[" * 100_000) == "unknown"
    assert MANIFESTS["pyproject.toml"]("a = " + "[" * 100_000) is None


@pytest.mark.parametrize("name", ["MIT-LICENSE", "MIT-LICENSE.txt", "GPL-LICENSE.txt", "LICENSE-MIT", "COPYING"])
def test_a_licence_file_may_be_called_by_its_licence(name):
    assert is_licence_file(name)
    assert not is_licence_file(f"fonts-{name}")


def test_a_comment_that_markdown_hides_takes_nothing_back():
    text = b"<!-- Written by a program. Do not edit. -->\n\n# MIT License\n"
    assert stated("LICENSE.md", text) == "MIT"
    assert stated("LICENSE.md", text.replace(b"<!--", b"").replace(b"-->", b"")) == "unknown"


# ---- trees: which files count beside what is in tree_licences, read in folders and archives


@pytest.mark.parametrize(
    ("licence_file", "name", "path", "found"),
    [
        ("LICENSE", "top/a/b.py", "top", None),
        ("top/LICENSE", "top/b.py", "top/b.py", None),
        ("top/LICENSE", "top/a/b.py", "top/**/*.py", "MIT"),
    ],
    ids=str,
)
def test_licence_files_count_up_to_the_path_that_was_named(tmp_path, licence_file, name, path, found):
    (tmp_path / "top" / "a").mkdir(parents=True)
    (tmp_path / licence_file).write_text("Licensed under the MIT License.")
    assert TreeLicences([str(tmp_path / path)]).found_for(tmp_path / name, str(tmp_path / name))[0] == found


def test_a_text_that_names_its_own_licence_keeps_it():
    own, other = (
        Document("text", "s", "1", "o", "web", {"licence": "CC-BY-4.0"}),
        Document("text", "s", "2", "o", "code"),
    )
    drop = Drop("empty", "s", "3", "o", 0)
    assert [with_licence(piece, "MIT").meta["licence"] for piece in (own, other)] == ["CC-BY-4.0", "MIT"]
    assert with_licence(drop, "MIT") is drop
