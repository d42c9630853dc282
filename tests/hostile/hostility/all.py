"""Every kind of hostile file, in order; and the files of one: `python -m hostility.all NAME FOLDER SIZE` makes them.

In a process of its own: what a process takes shows in the peak memory of those that it starts.
"""

from __future__ import annotations

import sys
from pathlib import Path

from hostility import containers, folders, pages, texts

CASES = [*texts.CASES, *containers.CASES, *pages.CASES, *folders.CASES]

if __name__ == "__main__":
    next(case for case in CASES if case.name == sys.argv[1]).make(Path(sys.argv[2]), int(sys.argv[3]))
