"""Manifests of the right format, and those that prove themselves: what one says of files is worth what it itself is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeGuard

from headwater.core.files import digest_json, json_bytes, json_of, read_manifest_or_none

MAX_COUNT = 1 << 60


def is_unmade(folder: Path) -> bool:
    """Return whether nothing lies in `folder`, or there is none: whether its stage was never done."""
    try:
        return next(iter(folder.iterdir()), None) is None
    except FileNotFoundError:
        return True
    except OSError:
        return False


def is_current(folder: Path, key: str) -> bool:
    """Return whether `folder` holds a complete stage made from exactly these settings and inputs."""
    return read_manifest_or_none(folder).get("key") == key


def manifest_as_written(folder: Path) -> tuple[dict[str, Any], bytes]:
    """Return the manifest of `folder` and its bytes, {} where it is missing or unreadable; the file is read once."""
    try:
        data = (folder / "manifest.json").read_bytes()
        manifest = json_of(data)
    except (OSError, ValueError):
        return {}, b""
    return (manifest if isinstance(manifest, dict) else {}), data


def read_manifest(
    folder: Path, format_name: str, format_version: int, error: Callable[[str], Exception]
) -> dict[str, Any]:
    """Return the manifest of `folder`, checked for its format; raise `error` with what to do otherwise."""
    manifest = read_manifest_or_none(folder)
    require_format(manifest, folder, format_name, format_version, error)
    return manifest


def require_format(
    manifest: dict[str, Any],
    folder: Path,
    format_name: str,
    format_version: int,
    error: Callable[[str], Exception],
) -> None:
    """Raise `error`, with what to do, unless the manifest of `folder` is of this format."""
    if manifest.get("format") != format_name:
        raise error(f"{folder} is not a {format_name} folder: no readable manifest.json of that format in it")
    if manifest.get("format_version") != format_version:
        raise error(
            f"{folder} has {format_name} version {manifest.get('format_version')}; this headwater reads version "
            f"{format_version}; build it again or use the headwater that wrote it"
        )


def is_count(value: Any) -> TypeGuard[int]:
    """Return whether a value of a manifest is a number to count with."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_COUNT


def seal(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the manifest with a digest of itself, which `read_sealed_manifest` checks."""
    return manifest | {"seal": digest_json(manifest)}


def is_sealed(manifest: dict[str, Any]) -> bool:
    """Return whether a manifest has a seal, and nothing in it has changed since that was made."""
    return manifest.get("seal") == digest_json({name: value for name, value in manifest.items() if name != "seal"})


def read_sealed_manifest(
    folder: Path, format_name: str, format_version: int, error: Callable[[str], Exception]
) -> dict[str, Any]:
    """Return the manifest of `folder`, of which no byte has changed since it was written; raise `error` otherwise."""
    manifest, written = manifest_as_written(folder)
    require_format(manifest, folder, format_name, format_version, error)
    require_seal(manifest, written, folder, error)
    return manifest


def require_seal(manifest: dict[str, Any], written: bytes, folder: Path, error: Callable[[str], Exception]) -> None:
    """Raise `error` unless the manifest of `folder`, in these bytes, is as it was when it was sealed."""
    path = folder / "manifest.json"
    if not is_sealed(manifest):
        raise error(f"{path} is damaged or was altered: it isn't what its seal was made for")
    # the same value in other bytes: nothing that is read differs, but something writes to this file
    if written != json_bytes(manifest):
        raise error(f"{path} is damaged or was altered: its bytes aren't those that were written")
