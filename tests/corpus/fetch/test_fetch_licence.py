from email.parser import HeaderParser

import pytest

from headwater.corpus.fetch.licence import licence_of_copyright, licence_of_metadata


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
    assert licence_of_copyright(text) == spdx


def test_papers_in_free_prose_are_unknown():
    assert licence_of_copyright("This is the Debian prepackaged version of something.\n\nIt is free.\n") == "unknown"


@pytest.mark.parametrize(
    ("metadata", "spdx"),
    [
        ("License-Expression: CC0-1.0\nLicense: MIT", "CC0-1.0"),
        ("License: MIT", "MIT"),
        ("Classifier: Topic :: Text\nClassifier: License :: OSI Approved :: Apache Software License", "Apache-2.0"),
        ("License: see the file", "unknown"),
        ("License: Ours, not for sale\nClassifier: License :: OSI Approved :: MIT License", "unknown"),
        ("Name: x", None),
        ("License: UNKNOWN", None),
    ],
)
def test_python_metadata_states_it_in_three_places(metadata, spdx):
    assert licence_of_metadata(HeaderParser().parsestr(metadata)) == spdx
