"""How often the licence that a text states is the one that its package says it is.

    python benchmarks/corpus/licences.py [--json] [--site-packages FOLDER] [--debian /usr/share/doc]

Truth is other people's labels: the metadata of installed Python packages with one licence and one licence file, and the
stanzas of Debian's machine-readable copyright files that have a text of 40 words or more, one label, and a label that
is an SPDX identifier. Both have mistakes of their own: a stanza labelled GPL-2 may hold the notice of "or later".
`family` counts those that are right but for "only" and "or later"; `let in` is what matters to an allow-list: texts
labelled copyleft that were taken for permissive.
"""

from __future__ import annotations

import argparse
import json
import re
import sysconfig
from collections import Counter
from collections.abc import Iterator
from email.parser import HeaderParser
from pathlib import Path

from headwater.corpus.protect.licence_texts import licence_of_text
from headwater.corpus.protect.spdx import allowed_patterns, identifiers, is_allowed, spdx_of

_DEBIAN = {
    "Expat": "MIT", "BSD-2": "BSD-2-Clause", "BSD-3": "BSD-3-Clause", "BSL": "BSL-1.0", "Apache-2": "Apache-2.0",
    "Artistic": "Artistic-1.0-Perl", "Artistic-1": "Artistic-1.0-Perl", "Python": "PSF-2.0", "ZLIB": "Zlib",
    "zlib": "Zlib", "OpenLDAP-2.8": "OLDAP-2.8", "BSD-3-google": "BSD-3-Clause", "CC0": "CC0-1.0",
    "BSD-3-clause-Berkeley": "BSD-3-Clause", "GPL": "GPL-1.0-or-later", "LGPL": "LGPL-2.0-or-later",
    "public-domain": "PD",
}  # fmt: skip
_CLASSIFIERS = {
    "MIT License": "MIT", "Apache Software License": "Apache-2.0", "ISC License (ISCL)": "ISC",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}  # fmt: skip
_LICENCE_FILE = re.compile(r"(?:licen[sc]e|copying)(?:\.\w+)?", re.IGNORECASE)
_STANZA = re.compile(r"^License:[ ]*(\S[^\n]*)\n((?:[ \t][^\n]*\n?)+)", re.MULTILINE)
_VERSION = re.compile(r"(A?L?GPL|GFDL)-(\d(?:\.\d)?)(\+?)")
MIN_WORDS = 40


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--site-packages", type=Path, default=Path(sysconfig.get_path("purelib")))
    parser.add_argument("--debian", type=Path, default=Path("/usr/share/doc"))
    arguments = parser.parse_args()
    result = {
        "python packages": score(_python_packages(arguments.site_packages)),
        "debian stanzas": score(_debian_stanzas(arguments.debian)),
    }
    print(json.dumps(result, indent=None if arguments.json else 2))


def score(labelled: Iterator[tuple[str, str]]) -> dict[str, object]:
    permissive = allowed_patterns(["permissive", "public_domain"])
    counts: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for truth, text in labelled:
        found = licence_of_text(text)
        counts["n"] += 1
        counts["right"] += found == truth
        counts["family"] += found is not None and _families(found) == _families(truth)
        counts["unknown"] += found is None
        counts["let in"] += found is not None and is_allowed(found, permissive) and not is_allowed(truth, permissive)
        if found is not None and _families(found) != _families(truth):
            wrong[f"{truth} taken for {found}"] += 1
    return {
        **counts,
        "right_fraction": round(counts["right"] / max(counts["n"], 1), 4),
        "wrong": dict(wrong.most_common(12)),
    }


def _families(expression: str) -> set[str]:
    return {re.sub("-(only|or-later)$", "", each) for each in identifiers(expression)}


def _python_packages(folder: Path) -> Iterator[tuple[str, str]]:
    for info in sorted(folder.glob("*.dist-info")):
        metadata = HeaderParser().parsestr((info / "METADATA").read_text(errors="replace"))
        classified = [each.split(" :: ")[-1] for each in metadata.get_all("Classifier", []) if "OSI Approved" in each]
        names = [metadata["License-Expression"], metadata["License"]]
        names += [_CLASSIFIERS.get(each) for each in classified] if len(classified) == 1 else []
        truth = next((known for name in names if name and (known := spdx_of(name))), None)
        papers = [path for path in (*info.glob("*"), *info.glob("licenses/*")) if _LICENCE_FILE.fullmatch(path.name)]
        if truth is not None and " " not in truth and len(papers) == 1:
            yield truth, papers[0].read_text(errors="replace")


def _debian_stanzas(folder: Path) -> Iterator[tuple[str, str]]:
    seen = set()
    for path in sorted(folder.glob("*/copyright")):
        text = path.read_text(errors="replace")
        if not text.startswith("Format"):
            continue
        for stanza in re.split(r"\n\s*\n(?=\S)", text):
            match = _STANZA.search(stanza)
            if match is None or match.groups() in seen or len(match[2].split()) < MIN_WORDS:
                continue
            seen.add(match.groups())
            truth = _debian_label(match[1].strip())
            if truth is not None:
                yield truth, "\n".join(line.strip().removeprefix(".") for line in match[2].split("\n"))


def _debian_label(label: str) -> str | None:
    if re.search(r"\b(?:and|or|with)\b|exception|NIV|invariant", label, re.IGNORECASE):
        return None
    if gnu := _VERSION.fullmatch(label):
        return spdx_of(f"{gnu[1]}-{gnu[2] if '.' in gnu[2] else gnu[2] + '.0'}{gnu[3]}")
    name = re.sub("-clause$", "-Clause", _DEBIAN.get(label, label))
    found = spdx_of(name)
    return None if found is not None and "-alike" in found.lower() else found


if __name__ == "__main__":
    main()
