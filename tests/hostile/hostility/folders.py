"""Names and kinds of files: circles of links, pipes, devices, names that steer a terminal, depths beyond any path."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from hostility.case import KEPT, Case, prose

NAMES = ["line\nend", "\x1b[31mred", "-rf", "~", "$(id)", "a" * 251, "\u202ename", "* ? [a]", "\"quotes'", "..", "CON"]
NAMES += ["a\\..\\b", " ", "%2e%2e%2fup"]


def names(folder: Path, size: int) -> None:
    for number, name in enumerate(NAMES):
        (folder / f"{name}.txt").write_text(prose(f"brook {number} {chr(97 + number) * 5}"), encoding="utf-8")
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9\xff.txt")).write_text(prose("coffee"), encoding="utf-8")


def links(folder: Path, size: int) -> None:
    (folder / "words.txt").write_text(prose("circle"), encoding="utf-8")
    for number in range(5):
        (folder / f"loop{number}").symlink_to(folder)
    for name, target in {"itself": "itself.txt", "nowhere": "nowhere", "again": "words.txt"}.items():
        (folder / f"{name}.txt").symlink_to(folder / target)


def devices(folder: Path, size: int) -> None:
    os.mkfifo(folder / "pipe.txt")
    (folder / "zero.txt").symlink_to("/dev/zero")
    (folder / "random.jsonl").symlink_to("/dev/urandom")
    with socket.socket(socket.AF_UNIX) as end:
        handle = os.open(folder, os.O_RDONLY)  # by the folder's handle: a socket's path may have 107 bytes
        try:
            end.bind(f"/proc/self/fd/{handle}/socket.txt")
        finally:
            os.close(handle)


def of_the_kernel(folder: Path, size: int) -> None:
    (folder / "memory.txt").symlink_to("/proc/self/mem")
    (folder / "maps.txt").symlink_to("/proc/self/maps")


def locked(folder: Path, size: int) -> None:
    path = folder / "locked.txt"
    path.write_text(prose("locked door"), encoding="utf-8")
    path.chmod(0)


def deep(folder: Path, size: int) -> None:
    (folder / "folder.txt").mkdir()
    (folder / "folder.txt" / "words.parquet.txt").write_text(prose("folder"), encoding="utf-8")
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=handle)
        inner = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=handle)
        os.close(handle)
        handle = inner
    words = os.open("words.txt", os.O_WRONLY | os.O_CREAT, dir_fd=handle)
    os.write(words, prose("bottom").encode())
    os.close(words)
    os.close(handle)


def manifests(folder: Path, size: int) -> None:
    for name, content in {"deep": b"[" * 100_000, "bytes": b"\xff" * 500, "folder": None}.items():
        (folder / name).mkdir()
        (folder / name / "words.txt").write_text(prose(f"manifest {name}"), encoding="utf-8")
        if content is None:
            (folder / name / "manifest.json").mkdir()
        else:
            (folder / name / "manifest.json").write_bytes(content)


def holes(folder: Path, size: int) -> None:
    for name in ("holes.txt", "holes.qqq", "holes.jsonl"):
        with open(folder / name, "wb") as file:
            file.truncate(max(size, 20_000_000))


CASES = [
    Case("names of every kind", f"{KEPT} hidden", write=names),
    Case("links in circles", f"{KEPT} broken_link link_loop already_read", write=links),
    Case("pipes, sockets and devices", "not_a_file", write=devices),
    Case("files of the kernel", "empty unreadable", write=of_the_kernel),
    Case("a file that may not be read", f"{KEPT} unreadable", write=locked),
    Case("folders named like files, and 1,500 deep", KEPT, write=deep),
    Case(
        "a manifest that isn't one", f"{KEPT} exact_duplicate malformed_json not_utf8 near_duplicate", write=manifests
    ),
    Case("files of holes", "binary unknown_format line_too_long malformed_json", write=holes),
]
