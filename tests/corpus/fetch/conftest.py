"""Archives made by hand: .deb (ar of two tars), wheels and source archives."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

DEP5 = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nCopyright: someone\nLicense: {}\n"
Archive = Callable[..., Path]


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


@pytest.fixture
def make_deb(tmp_path: Path) -> Archive:
    """Return a function that writes archives/NAME_VERSION_all.deb with these files and returns its path."""

    def make(
        name: str, files: dict[str, bytes | tarfile.TarInfo], version: str = "1.0-1", licence: str = "MIT"
    ) -> Path:
        papers = {f"usr/share/doc/{name}/copyright": DEP5.format(licence).encode()}
        data = gzip.compress(tar_bytes({**papers, **files}))
        control = gzip.compress(tar_bytes({"control": f"Package: {name}\nVersion: {version}\n".encode()}))
        path = tmp_path / "archives" / f"{name}_{version}_all.deb"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(ar_bytes({"debian-binary": b"2.0\n", "control.tar.gz": control, "data.tar.gz": data}))
        return path

    return make


@pytest.fixture
def make_wheel(tmp_path: Path) -> Archive:
    """Return a function that writes archives/NAME-VERSION-py3-none-any.whl and returns its path."""

    def make(name: str, files: dict[str, bytes], metadata: str = "", version: str = "2.0") -> Path:
        plain = name.replace("-", "_")
        path = tmp_path / "archives" / f"{plain}-{version}-py3-none-any.whl"
        path.parent.mkdir(exist_ok=True)
        head = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{metadata}\n"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"{plain}-{version}.dist-info/METADATA", head)
            for inner, content in files.items():
                archive.writestr(inner, content)
        return path

    return make
