"""Code of a user's own that a run file names: a class in a file beside it, or what an installed package offers."""

from __future__ import annotations

from importlib.metadata import entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from headwater.core.errors import ConfigError
from headwater.core.files import digest_file


def load_code(reference: str, folder: Path, group: str, setting: str) -> Any:
    """Return what FILE.py:NAME names, or an entry point of `group`; raise ConfigError where there is none."""
    path, is_file, name = _parts(reference)
    if not is_file:
        found = next(iter(entry_points(group=group, name=reference)), None)
        if found is None:
            raise ConfigError(f"{setting}: {reference!r} is neither FILE.py:NAME nor an entry point of {group}")
        return found.load()
    file = folder / path
    if not file.is_file():
        raise ConfigError(f"{setting}: there is no file {file}")
    spec = spec_from_file_location(f"_own_{file.stem}", file)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ConfigError(f"{setting}: {file} can't be loaded: {type(error).__name__}: {error}") from error
    if not hasattr(module, name):
        raise ConfigError(f"{setting}: {file} has no {name}")
    return getattr(module, name)


def digest_code(reference: str, folder: Path, group: str) -> str:
    """Return what changes when the code does: the digest of its file, or the version of its package."""
    path, is_file, _ = _parts(reference)
    if is_file:
        return digest_file(folder / path)
    found = next(iter(entry_points(group=group, name=reference)), None)
    return f"{found.value} {found.dist.version if found.dist else ''}" if found else ""


def _parts(reference: str) -> tuple[str, bool, str]:
    path, colon, name = reference.rpartition(":")
    return path, bool(colon) and path.endswith(".py"), name
