"""Code of a user's own that a run file names: `mine.py:Name` beside it, or what an installed package adds.

Reading settings runs nothing; what loads the code runs its file, as SECURITY.md says. A file is one module: it is
executed once for its bytes, leaves no compiled copy beside it, and finds no modules that lie beside it.
"""

from __future__ import annotations

import os
import re
import sys
from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from headwater.core.errors import ConfigError

_IN_FILE = re.compile(r"(?P<path>[^\0]+\.py):(?P<name>[A-Za-z_]\w*)")
_INSTALLED = re.compile(r"[A-Za-z_][\w.-]{0,99}")


class Code(NamedTuple):
    """A name in a file; without a file, one that an installed package has registered."""

    path: Path | None
    name: str

    def __str__(self) -> str:
        return self.name if self.path is None else f"{self.path}:{self.name}"


def find_code(reference: str, folder: Path) -> Code:
    """Return what a reference names; a relative path is one in `folder`. Raises ValueError for anything else.

    Neither the file nor the package is looked at, so that the settings of a run can be read where they aren't.
    """
    if match := _IN_FILE.fullmatch(reference):
        if re.match(r"\w+://", match["path"]):
            raise ValueError(f"{reference!r} is an address; code is read from a file here, mine.py:Name")
        return Code(Path(os.path.abspath(folder / Path(match["path"]).expanduser())), match["name"])
    if _INSTALLED.fullmatch(reference) and not reference.endswith(".py"):
        return Code(None, reference)
    raise ValueError(f"{reference!r} names no code; write mine.py:Name, or the name that an installed package adds")


def load_code(reference: str, folder: Path, group: str = "") -> object:
    """Return what a reference names, running its file; `group` is that of the entry points of installed packages.

    Raises ConfigError where file or name is missing, or the file raises an error.
    """
    code = find_code(reference, folder)
    try:
        if code.path is None:
            loaded: object = _entry_point(code.name, group).load()
            return loaded
        module = _module(code.path, _source(code))
    except ConfigError:
        raise
    except Exception as error:  # whatever the file does
        raise ConfigError(f"{code} can't be loaded: {type(error).__name__}: {error}") from error
    if not hasattr(module, code.name):
        own = {name: getattr(value, "__module__", "") for name, value in vars(module).items()}
        names = sorted(name for name in own if own[name] == module.__name__)
        raise ConfigError(f"{code.path} has no {code.name}; it defines {', '.join(names) or 'nothing'}")
    found: object = getattr(module, code.name)
    return found


def digest_code(reference: str, folder: Path, group: str = "") -> str:
    """Return a digest that changes with the name and the bytes of its file, wherever it lies; nothing is run.

    What the file imports isn't in it. Raises ConfigError where the file is missing.
    """
    code = find_code(reference, folder)
    if code.path is None:
        point = _entry_point(code.name, group)
        spec = find_spec(point.module)
        code = Code(Path(spec.origin) if spec and spec.origin else None, point.attr)
        if code.path is None:
            raise ConfigError(f"{reference}: the package that adds it has no module {point.module}; install it again")
    return f"{code.name} sha256:{sha256(_source(code)).hexdigest()}"


def _source(code: Code) -> bytes:
    try:
        return (code.path or Path()).read_bytes()
    except OSError as error:
        raise ConfigError(f"{code.path} can't be read: {error.strerror}; it is to hold {code.name}") from None


@cache
def _module(path: Path, source: bytes) -> ModuleType:
    module = ModuleType(f"headwater_own_{sha256(os.fsencode(path) + source).hexdigest()[:16]}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # where dataclasses look for the names in annotations
    try:
        exec(compile(source, path, "exec", dont_inherit=True), vars(module))  # noqa: S102 - what the user asks for
    except BaseException:
        del sys.modules[module.__name__]
        raise
    return module


def _entry_point(name: str, group: str) -> Any:
    from importlib.metadata import entry_points  # takes longer to import than all of this

    found = {each.name: each for each in entry_points(group=group)} if group else {}
    if name not in found:
        known = f"; installed are {', '.join(sorted(found))}" if found else "; no installed package adds any"
        raise ConfigError(f"no {group} is named {name!r}{known}; one of your own is mine.py:{name.capitalize()}")
    return found[name]
