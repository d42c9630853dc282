"""Manifests that prove themselves: what a manifest says of other files is worth what can be said of itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from headwater.files import digest_json, json_bytes, read_manifest, read_manifest_or_none


def seal(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the manifest with a digest of itself, which `read_sealed_manifest` checks."""
    return manifest | {"seal": digest_json(manifest)}


def read_sealed_manifest(
    folder: Path, format_name: str, format_version: int, error: Callable[[str], Exception], unsealed_version: int
) -> dict[str, Any]:
    """Return the manifest of `folder`, of which no byte has changed since it was written; raise `error` otherwise.

    One of `unsealed_version`, which older headwaters wrote, has no seal and is taken as it reads.
    """
    path = folder / "manifest.json"
    if read_manifest_or_none(folder).get("format_version") == unsealed_version:
        return read_manifest(folder, format_name, unsealed_version, error)
    manifest = read_manifest(folder, format_name, format_version, error)
    content = {name: value for name, value in manifest.items() if name != "seal"}
    if manifest.get("seal") != digest_json(content):
        raise error(f"{path} is damaged or was altered: it isn't what its seal was made for")
    # the same value in other bytes: nothing that is read differs, but something writes to this file
    if path.read_bytes() != json_bytes(manifest):
        raise error(f"{path} is damaged or was altered: its bytes aren't those that were written")
    return manifest
