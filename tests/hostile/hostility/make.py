"""Make the files of one case: `python -m hostility.make NAME FOLDER SIZE`.

In a process of its own: what a process takes shows in the peak memory of those that it starts.
"""

from __future__ import annotations

import sys
from pathlib import Path

from hostility.all import CASES


def main() -> None:
    name, folder, size = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    next(case for case in CASES if case.name == name).write(folder, size)


if __name__ == "__main__":
    main()
