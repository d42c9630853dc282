from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.corpus.licences.files import MANIFESTS, is_licence_file, of_debian_copyright, stated

WHEEL = "Metadata-Version: 2.4\nName: x\n"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("METADATA", f"{WHEEL}License-Expression: GPL-3.0-or-later\n", "GPL-3.0-or-later"),
        ("METADATA", f"{WHEEL}License-Expression: Ours-1.1\nLicense: MIT\n", "unknown"),
        ("METADATA", f"{WHEEL}License: UNKNOWN\nClassifier: License :: OSI Approved :: MIT License\n", "MIT"),
        (
            "PKG-INFO",
            f"{WHEEL}Classifier: License :: OSI Approved :: GNU General Public License v3 (GPLv3)\n",
            "GPL-3.0-only",
        ),
        (
            "PKG-INFO",
            f"{WHEEL}Classifier: License :: OSI Approved :: MIT License\nClassifier: License :: OSI Approved :: "
            "GNU General Public License v3 (GPLv3)\n",
            "MIT AND GPL-3.0-only",
        ),
        ("PKG-INFO", f"{WHEEL}Classifier: License :: Other/Proprietary License\n", "refused"),
        ("PKG-INFO", f"{WHEEL}Classifier: License :: OSI Approved\n", None),
        ("PKG-INFO", f"{WHEEL}License: Ask me\n", "unknown"),
        ("METADATA", f"{WHEEL}\nLicense: MIT, says the description\n", None),
        ("METADATA", "License: MIT\n", None),
        ("package.json", '{"license": "GPL-3.0"}', "GPL-3.0-only"),
        ("package.json", '{"license": {"type": "MIT", "url": "x"}}', "MIT"),
        ("package.json", '{"licenses": [{"type": "MIT"}, {"type": "Apache-2.0"}]}', "MIT OR Apache-2.0"),
        ("package.json", '{"license": "UNLICENSED"}', "refused"),
        ("package.json", '{"license": "SEE LICENSE IN TERMS"}', "unknown"),
        ("package.json", '{"type": "module"}', None),
        ("package.json", '["license"]', None),
        ("package.json", '{"license": ', "unknown"),
        ("pyproject.toml", '[project]\nlicense = "AGPL-3.0-only"', "AGPL-3.0-only"),
        ("pyproject.toml", '[project]\nlicense = {text = "BSD-3-Clause"}', "BSD-3-Clause"),
        ("pyproject.toml", '[project]\nlicense = {file = "LICENSE"}', "in_a_file"),
        (
            "pyproject.toml",
            '[project]\nlicense = {file = "LICENSE"}\nclassifiers = ["License :: OSI Approved :: MIT License"]',
            "MIT",
        ),
        ("pyproject.toml", '[tool.poetry]\nlicense = "GPL-2.0+"', "GPL-2.0-or-later"),
        ("pyproject.toml", '[tool.ruff]\nline-length = 120', None),
        ("pyproject.toml", "[project", None),
        ("Cargo.toml", '[package]\nlicense = "MIT/Apache-2.0"', "MIT OR Apache-2.0"),
        ("Cargo.toml", "[package]\nlicense.workspace = true", None),
        ("Cargo.toml", '[workspace.package]\nlicense = "MPL-2.0"', "MPL-2.0"),
        ("Cargo.toml", '[package]\nlicense-file = "TERMS"', "unknown"),
    ],
)  # fmt: skip
def test_what_a_manifest_says(name, text, said):
    assert MANIFESTS[name](text) == said


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.sampled_from(["MIT", "GPL-3.0", "ask"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "name"]), inner, max_size=2),
)


@given(JSON, st.sampled_from(["license", "licenses"]))
def test_a_field_of_any_form_breaks_nothing(value, name):
    MANIFESTS["package.json"](json.dumps({name: value}))
    MANIFESTS["package.json"](json.dumps(value))


@given(st.text(max_size=200), st.sampled_from(sorted(MANIFESTS)))
def test_no_text_breaks_a_manifests_reader(text, name):
    MANIFESTS[name](text)


def test_nesting_without_end_names_nothing_that_is_understood():
    assert MANIFESTS["package.json"]('{"license":' + "[" * 100_000) == "unknown"
    assert MANIFESTS["pyproject.toml"]("a = " + "[" * 100_000) is None


@pytest.mark.parametrize(
    ("name", "spdx"),
    [
        ("MIT", "MIT"),
        ("Expat", "MIT"),
        ("GPL-2+", "GPL-2.0-or-later"),
        ("GPL-2", "GPL-2.0-only"),
        ("GPL-2.0+ or CC-BY-SA-3.0", "GPL-2.0-or-later OR CC-BY-SA-3.0"),
        ("GPL-1+ or Artistic", "GPL-1.0-or-later OR Artistic-1.0-Perl"),
        ("LGPL-2.1+", "LGPL-2.1-or-later"),
        ("public-domain", "LicenseRef-public-domain"),
        ("something-of-our-own", "unknown"),
        ("MIT or something-of-our-own", "unknown"),
        ("GPL-3+ with autoconf exception", "GPL-3.0-or-later"),
    ],
)
def test_debians_names_become_those_of_spdx(name, spdx):
    text = f"Format: x\n\nFiles: debian/*\nLicense: ISC\n\nFiles: *\nCopyright: a\nLicense: {name}\n the text of it\n"
    assert of_debian_copyright(text) == spdx


def test_copyright_in_free_prose_are_unknown():
    assert of_debian_copyright("This is the Debian prepackaged version of something.\n\nIt is free.\n") == "unknown"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ("License-Expression: CC0-1.0\nLicense: MIT", "CC0-1.0"),
        ("Classifier: Topic :: Text\nClassifier: License :: OSI Approved :: Apache Software License", "Apache-2.0"),
        ("License: see the file", "unknown"),
        ("License: Ours, not for sale\nClassifier: License :: OSI Approved :: MIT License", "unknown"),
        ("Name: x", None),
        ("License: UNKNOWN", None),
    ],
)
def test_python_metadata_states_it_in_three_places(fields, said):
    assert MANIFESTS["METADATA"](f"Metadata-Version: 2.1\n{fields}\n") == said


@pytest.mark.parametrize("name", ["MIT-LICENSE", "MIT-LICENSE.txt", "GPL-LICENSE.txt", "LICENSE-MIT", "COPYING"])
def test_a_licence_file_may_be_called_by_its_licence(name):
    assert is_licence_file(name)
    assert not is_licence_file(f"fonts-{name}")


def test_a_comment_that_markdown_hides_takes_nothing_back():
    text = b"<!-- Written by a program. Do not edit. -->\n\n# MIT License\n"
    assert stated("LICENSE.md", text) == "MIT"
    assert stated("LICENSE.md", text.replace(b"<!--", b"").replace(b"-->", b"")) == "unknown"
