"""Write corpus/licences/standard_texts.xz: id, name and words of every licence of the SPDX list.

    npm pack spdx-license-list && tar xzf spdx-license-list-*.tgz
    python benchmarks/corpus/standard_licences.py package/licenses

The list and its texts as data: https://spdx.org/licenses, by the package spdx-license-list (CC0-1.0).
"""

from __future__ import annotations

import json
import lzma
import re
import sys
from pathlib import Path

from headwater.corpus.licences.standards import FILE, license_words

import headwater.corpus.licences
from headwater.sources.spdx import is_expression

# names of old for what has another today, which license-expression translates
_DEPRECATED = re.compile(
    r"(?:[AL]?GPL|GFDL)-\d\.\d(?:\+|-with-.*)?|BSD-2-Clause-(?:Free|Net)BSD|eCos-2\.0|Nunit|wxWindows"
)
_ENDORSE = "neither the name of the copyright holder nor the names of its contributors may be used"
# wordings as common as the one listed
_VARIANTS = {
    "BSD-3-Clause": [(_ENDORSE, "the name of the author may not be used")],
    "BSD-4-Clause": [(_ENDORSE, "the name of the author may not be used")],
}
_GPL_3_FOLLOWS = "gnu general public license version 3 29 june 2007"  # behind the LGPL's own text


def main(folder: Path) -> None:
    texts: dict[str, str] = {}
    lines: list[str] = []
    for path in sorted(folder.glob("*.json"), key=lambda path: (len(path.stem), path.stem)):
        listed = json.loads(path.read_text(encoding="utf-8"))
        if _DEPRECATED.fullmatch(path.stem) or not is_expression(path.stem):  # newer than license-expression's list
            continue
        words = " ".join(license_words(listed["licenseText"]))
        if path.stem.startswith("LGPL-3.0"):
            words = words[: words.index(_GPL_3_FOLLOWS)]
        # GPL-3.0-or-later has the text of GPL-3.0-only, whose name is shorter
        is_first = texts.setdefault(words, path.stem) == path.stem
        lines.append(f"{path.stem}\t{listed['name']}\t{words if is_first else ''}")
        lines += [f"{path.stem}\t\t{words.replace(*each)}" for each in _VARIANTS.get(path.stem, [])]
    target = Path(headwater.corpus.licences.__file__).with_name(FILE)
    target.write_bytes(lzma.compress("\n".join(sorted(lines)).encode(), preset=9 | lzma.PRESET_EXTREME))
    print(f"{target}: {len(lines)} texts, {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
