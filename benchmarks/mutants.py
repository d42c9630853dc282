"""How many faults planted in the code its tests notice: a sample of cosmic-ray's mutants of what may not be wrong.

A mutant is one change of an operator, number, comparison, condition or loop. Those that change only an annotation,
a docstring or the words of an error are left out: no test should notice them. The tests run in a process forked from
one that has torch loaded, in a copy of the tree; those that import the changed module come first. Each mutant that no
test notices is printed with its line. The draw depends on the seed and the modules' text alone: the same code gives the
same mutants whatever its tests are.

Run: make mutants
"""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

TREE = Path(__file__).resolve().parents[1]
SUBJECTS = {  # subject: (modules of the package, the tests that ought to notice)
    "loss": ("model/loss.py", "tests/model/test_loss.py"),
    "optimizer": ("model/optim/*.py", "tests/model/optim tests/model/kernels/test_kernel_symmetric.py"),
    "order": ("tokens/batches/order.py tokens/batches/mixture.py", "tests/tokens/batches"),
    "packing": (
        "tokens/batches/pack.py tokens/batches/rows.py tokens/batches/assemble.py",
        "tests/tokens tests/train/test_half_length.py",
    ),
    "checkpoint": ("train/checkpoint/*.py", "tests/train/checkpoint"),
    "settings": ("runfile/*.py core/config.py core/validation.py", "tests/runfile tests/core"),
}
LEFT_OUT = ("RemoveDecorator", "ExceptionReplacer", "VariableReplacer", "VariableInserter")  # most don't import


class _Behaviour(ast.NodeTransformer):
    """A module without what no test should notice."""

    def visit_arg(self, node):
        node.annotation = None
        return node

    def visit_AnnAssign(self, node):
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)

    def visit_FunctionDef(self, node):
        node.returns = None
        return self.generic_visit(node)

    def visit_Raise(self, node):
        return ast.Raise(node.exc.func if isinstance(node.exc, ast.Call) else node.exc, None)


def behaviour(text: str) -> str | None:
    """Return what a module does, as text; None if it is not Python."""
    try:
        return ast.dump(_Behaviour().visit(ast.parse(text)))
    except SyntaxError:
        return None


def mutants_of(text: str) -> Iterator[str]:
    """Yield the text of every mutant of a module."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator, operator_names

    seen = {None, behaviour(text)}
    for name in operator_names():
        number = 0
        while not any(part in name for part in LEFT_OUT) and (
            mutant := mutate_code(text, get_operator(name)(), number)
        ):
            number += 1
            if (does := behaviour(mutant)) not in seen:
                seen.add(does)
                yield mutant


def files_for(module: Path, tree: Path, tests: str) -> list[str]:
    """Return the files of these tests, first those that import a module: most of its mutants end there."""
    name = ".".join(module.relative_to(tree / "src").with_suffix("").parts)
    parts = [tree / part for part in tests.split()]
    files = [file for part in parts for file in (sorted(part.rglob("test_*.py")) if part.is_dir() else [part])]
    return [str(file) for file in sorted(files, key=lambda file: f"from {name} import" not in file.read_text())]


def run_tests(tree: Path, tests: list[str], seconds: float) -> str:
    """Return how the tests end in a process of their own: 'alive' if all pass, 'killed', or 'hung'."""
    child = os.fork()
    if child == 0:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        os.chdir(tree)
        sys.path[:0] = [str(tree / "src"), str(tree)]
        import pytest

        os._exit(int(pytest.main([*tests, "-x", "-q", "-m", "not slow"])))
    ends = time.monotonic() + seconds
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
        if time.monotonic() > ends:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return "hung"
        time.sleep(0.02)
    return "alive" if ended[1] == 0 else "killed"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subjects", nargs="*", default=list(SUBJECTS), help="which of: " + ", ".join(SUBJECTS))
    parser.add_argument("--mutants", type=int, default=60, help="of each subject")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    for name in ("numpy", "pyarrow", "pydantic", "safetensors", "scipy", "tokenizers", "torch"):
        importlib.import_module(name)  # once, not in every child

    folder = Path(tempfile.mkdtemp(prefix="mutants-"))
    tree = folder / "tree"
    for name in ("src", "tests", "benchmarks"):
        shutil.copytree(TREE / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(TREE / "pyproject.toml", tree)
    os.environ |= {"PYTHONPATH": str(tree / "src"), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    sys.dont_write_bytecode = True
    table = ["| subject | mutants of | tried | killed | hung | alive | noticed |", "|---|--:|--:|--:|--:|--:|--:|"]
    for subject in arguments.subjects:
        patterns, tests = SUBJECTS[subject]
        began = time.monotonic()
        if run_tests(tree, tests.split(), 900) != "alive":
            sys.exit(f"{subject}: its tests fail without a mutant: {tests}")
        seconds = 60 + 5 * (time.monotonic() - began)
        modules = [m for pattern in patterns.split() for m in sorted((tree / "src/headwater").glob(pattern))]
        drawn = [(module, mutant) for module in modules for mutant in mutants_of(module.read_text())]
        total = len(drawn)
        random.Random(f"{arguments.seed} {subject}").shuffle(drawn)
        ends: Counter[str] = Counter()
        for module, mutant in drawn[: arguments.mutants]:
            text = module.read_text()
            module.write_text(mutant)
            end = run_tests(tree, files_for(module, tree, tests), seconds)
            module.write_text(text)
            ends[end] += 1
            if end == "alive":
                changed = list(difflib.unified_diff(text.splitlines(), mutant.splitlines(), lineterm="", n=0))[2:]
                print(f"alive: {module.relative_to(tree)}", *changed, sep="\n    ", flush=True)
        noticed = 1 - ends["alive"] / max(1, ends.total())
        counts = f"{ends.total()} | {ends['killed']} | {ends['hung']} | {ends['alive']}"
        table.append(f"| {subject} | {total} | {counts} | {noticed:.0%} |")
    shutil.rmtree(folder)
    print("\n".join(table))


if __name__ == "__main__":
    main()
