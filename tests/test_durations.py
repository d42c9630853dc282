"""A test that takes over five seconds says why it must."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
SLOW = json.loads((TESTS / "durations.json").read_text(encoding="utf-8"))["tests over 5 s"]


@pytest.mark.parametrize("name", SLOW)
def test_a_slow_test_explains_itself(name):
    path, _, function = name.partition("::")
    tree = ast.parse((TESTS.parent / path).read_text(encoding="utf-8"))
    found = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == function]
    assert found, f"{name} is gone: make durations"
    assert ast.get_docstring(found[0]), (
        f"{name} took {SLOW[name]} s: make it faster, or say in its docstring why it must"
    )
