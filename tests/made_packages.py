"""Packages made by hand: .deb (ar of two tars) and wheels."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

DEP5 = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nCopyright: someone\nLicense: {}\n"


def tar_bytes(files: dict[str, bytes | tarfile.TarInfo]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
                continue
            entry = tarfile.TarInfo(f"./{name}" if not name.startswith((".", "/")) else name)
            entry.size, entry.mtime = len(content), 1_700_000_000
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def ar_bytes(members: dict[str, bytes]) -> bytes:
    parts = [b"!<arch>\n"]
    for name, data in members.items():
        parts.append(f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode())
        parts.append(data + b"\n" * (len(data) % 2))
    return b"".join(parts)


def write_deb(
    folder: Path, name: str, files: dict[str, bytes | tarfile.TarInfo], version: str = "1.0-1", licence: str = "MIT"
) -> Path:
    """Write FOLDER/NAME_VERSION_all.deb with these files and return its path."""
    licence_files = {f"usr/share/doc/{name}/copyright": DEP5.format(licence).encode()}
    data = gzip.compress(tar_bytes({**licence_files, **files}))
    control = gzip.compress(tar_bytes({"control": f"Package: {name}\nVersion: {version}\n".encode()}))
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}_{version}_all.deb"
    path.write_bytes(ar_bytes({"debian-binary": b"2.0\n", "control.tar.gz": control, "data.tar.gz": data}))
    return path


def write_wheel(folder: Path, name: str, files: dict[str, bytes], version: str = "2.0") -> Path:
    """Write FOLDER/NAME-VERSION-py3-none-any.whl and return its path."""
    plain = name.replace("-", "_")
    folder.mkdir(exist_ok=True)
    path = folder / f"{plain}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        archive.writestr(f"{plain}-{version}.dist-info/METADATA", metadata)
        for inner, content in files.items():
            archive.writestr(inner, content)
    return path
