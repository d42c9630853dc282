"""Write corpus/licences/listed_names.tsv: identifier and name of every licence of the SPDX list.

    npm pack spdx-license-list && tar xzf spdx-license-list-*.tgz
    python benchmarks/corpus/standard_licences.py package/licenses

The list as data: https://spdx.org/licenses, by the package spdx-license-list (CC0-1.0).
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import headwater.corpus.licences
from headwater.corpus.sources.spdx import is_expression

# names of old for what has another today, which license-expression translates
_DEPRECATED = re.compile(
    r"(?:[AL]?GPL|GFDL)-\d\.\d(?:\+|-with-.*)?|BSD-2-Clause-(?:Free|Net)BSD|eCos-2\.0|Nunit|wxWindows"
)


def main(folder: Path) -> None:
    lines: list[str] = []
    for path in sorted(folder.glob("*.json")):
        if not _DEPRECATED.fullmatch(path.stem) and is_expression(path.stem):  # else newer than license-expression
            lines.append(f"{path.stem}\t{json.loads(path.read_text(encoding='utf-8'))['name']}\n")
    target = Path(headwater.corpus.licences.__file__).with_name("listed_names.tsv")
    target.write_text("".join(lines), encoding="utf-8")
    print(f"{target}: {len(lines)} names")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
