"""The cell of docs/scaling.md runs as it stands, and gives what the page says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_notebook_cell_of_the_docs_runs(monkeypatch):
    monkeypatch.chdir(ROOT)
    (cell,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/scaling.md").read_text(encoding="utf-8"), re.DOTALL)
    names: dict = {}
    exec(cell, names)
    found = names["chinchilla"]
    assert len(names["rows"]) == 240
    assert 1.75 < found.low[0] < found.median[0] < found.high[0] < 1.95
    low, middle, high = (line.y for line in names["lines"])
    assert len(middle) == 30 and (low < middle).all() and (middle < high).all()


def test_the_estimator_imports_numpy_and_scipy_alone():
    code = "import sys; from headwater.plan.scaling import ScalingLaw; print(*{name.split('.')[0] for name in sys.modules})"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    before = subprocess.run(
        [sys.executable, "-c", "import sys, numpy; print(*{name.split('.')[0] for name in sys.modules})"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    others = set(said) - set(before) - set(sys.stdlib_module_names)
    assert {name for name in others if not name.startswith("_")} <= {"headwater", "scipy"}
