"""Text that is on every machine with Python: the standard library's code, its docstrings and help topics."""

from __future__ import annotations

import ast
import os
import sysconfig
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from headwater.corpus.document import Document, Drop
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.limits import Unusable
from headwater.corpus.read.text import read_text

# tests are twice the library; what pip installed is not the library; the build's settings name this machine's folders
_LEFT_OUT = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__", "lib-dynload"}


def library_files() -> Iterator[tuple[Path, str]]:
    """Yield every module file of the running Python's library, without tests, with its origin, in order."""
    root = Path(sysconfig.get_path("stdlib"))
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in _LEFT_OUT and not name.startswith("config-"))
        for name in sorted(names):
            if name.endswith(".py") and not name.startswith("_sysconfigdata"):
                path = Path(folder) / name
                yield path, f"python/{path.relative_to(root).as_posix()}"


def read_library(source: str, kind: str, max_document_characters: int) -> Iterator[Document | Drop]:
    """Yield a document a module (sections of a long one), tied to the module's documentation by its group."""
    for path, origin in library_files():
        file = InputFile(path, origin, source, kind)
        if file.num_bytes == 0:
            yield file.drop("empty", 0)
            continue
        try:
            for document in read_text(file, max_document_characters):
                yield replace(document, meta={**document.meta, "group": origin})
        except Unusable as error:
            yield file.drop(error.reason, file.num_bytes)


def read_documentation(source: str, kind: str) -> Iterator[Document | Drop]:
    """Yield a document a help topic, then a document of docstrings a module."""
    yield from _topics(source, kind)
    for path, origin in library_files():
        file = InputFile(path, origin, source, kind)
        try:
            text = docstrings(path.read_text(encoding="utf-8"), origin.removeprefix("python/"))
        except (SyntaxError, ValueError):
            yield file.drop("not_python", file.num_bytes, "#docstrings")
            continue
        if text:
            yield file.document(text, "#docstrings", group=origin)


def _topics(source: str, kind: str) -> Iterator[Document]:
    try:
        from pydoc_data.topics import topics
    except ModuleNotFoundError:  # some systems package Python without its help
        return
    for name, text in sorted(topics.items()):
        origin = f"python/pydoc_data/topics/{name}"
        yield Document(text, source, origin, origin, kind, {"title": name})


def docstrings(code: str, path: str) -> str:
    """Return the docstrings of a module, its classes and functions, each under its name and arguments.

    The code is parsed, never run. Returns "" for a module without docstrings.
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
