"""Text that is on every machine with Python: the standard library's code, its docstrings and help topics."""

from __future__ import annotations

import ast
import os
import sysconfig
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from headwater.corpus.document import Document
from headwater.corpus.read.input import InputFile, pieces_of, read_here
from headwater.corpus.read.limits import ReadLimits
from headwater.corpus.samples.texts import SampleText

# tests are twice the library; what pip installed is not the library; the build's settings name this machine's folders
_EXCLUDED = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__", "lib-dynload"}


def library_files() -> Iterator[tuple[Path, str]]:
    """Yield every module file of the running Python's library, without tests, with its origin, in order."""
    root = Path(sysconfig.get_path("stdlib"))
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in _EXCLUDED and not name.startswith("config-"))
        for name in sorted(names):
            if name.endswith(".py") and not name.startswith("_sysconfigdata"):
                path = Path(folder) / name
                yield path, f"python/{path.relative_to(root).as_posix()}"


def library_texts(limits: ReadLimits) -> Iterator[SampleText]:
    """Yield every module of the library that holds something, or its sections; a group ties it to its documentation."""
    for path, origin in library_files():
        for piece in pieces_of(InputFile(path, origin, "library", "code"), read_here, limits):
            if isinstance(piece, Document):
                yield SampleText(piece.text, piece.id, origin, {**piece.meta, "group": origin})


def documentation_texts() -> Iterator[SampleText]:
    """Yield Python's help topics, then the docstrings of every module that has some and can be parsed."""
    yield from help_topics()
    for path, origin in library_files():
        with suppress(SyntaxError, ValueError):  # what is no UTF-8 is a ValueError
            if text := docstrings(path.read_text(encoding="utf-8"), origin.removeprefix("python/")):
                yield SampleText(text, f"{origin}#docstrings", origin, {"group": origin})


def help_topics() -> Iterator[SampleText]:
    """Yield Python's help topics in order of their names; none where a system packages Python without its help."""
    try:
        from pydoc_data.topics import topics
    except ModuleNotFoundError:
        return
    for name, text in sorted(topics.items()):
        origin = f"python/pydoc_data/topics/{name}"
        yield SampleText(text, origin, origin, {"title": name})


def docstrings(code: str, path: str) -> str:
    """Return the docstrings of a module, its classes and functions, each under its name and arguments.

    The code is parsed, never run. Returns "" for a module without docstrings. Raises SyntaxError or ValueError for what
    is no Python.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old modules have escapes that the parser warns about
        module = ast.parse(code)
    name = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    parts = list(_described(module, ""))
    return "\n\n".join([f"Module {name}", *parts]) if parts else ""


def _docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    return (ast.get_docstring(node) or "").strip()


def _described(node: ast.Module | ast.ClassDef, prefix: str) -> Iterator[str]:
    if not prefix and (text := _docstring(node)):
        yield text
    for child in node.body:
        if not isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        name = f"{prefix}{child.name}"
        if text := _docstring(child):
            heading = f"class {name}" if isinstance(child, ast.ClassDef) else f"{name}({ast.unparse(child.args)})"
            yield f"{heading}\n{text}"
        if isinstance(child, ast.ClassDef):
            yield from _described(child, f"{name}.")
