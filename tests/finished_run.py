"""A folder of texts such as people have, junk in it too, and the run that the two commands of the README make of it."""

from __future__ import annotations

import html
import json
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from pydoc_data.topics import topics

from small_run import Said, overrides, run

LIBRARY_FILES = ("textwrap.py", "string.py", "json/decoder.py", "bisect.py", "heapq.py")


@dataclass(frozen=True)
class FinishedRun:
    """`cwd` holds folder/, mine.toml and runs/mine; `new` and `ran` are what the two commands said."""

    cwd: Path
    arguments: list[str]
    new: Said
    ran: Said

    @property
    def run_dir(self) -> Path:
        return self.cwd / "runs" / "mine"


def finish_a_run(cwd: Path) -> FinishedRun:
    write_mixed_folder(cwd / "folder")
    arguments = ["run", "mine.toml", *overrides()]
    return FinishedRun(cwd, arguments, run("new", "mine", "--text", "folder", cwd=cwd), run(*arguments, cwd=cwd))


def write_mixed_folder(folder: Path) -> None:
    """Write .txt, .md, .html, .py and .jsonl files, and files that no corpus can use."""
    folder.mkdir()
    names = sorted(topics)
    for name in names[:12]:
        (folder / f"{name}.txt").write_text(topics[name], encoding="utf-8")
    for name in names[12:20]:
        (folder / f"{name}.md").write_text(f"# {name}\n\n{topics[name]}", encoding="utf-8")
    for name in names[20:24]:
        (folder / f"{name}.html").write_text(web_page(name, topics[name]), encoding="utf-8")
    for name in LIBRARY_FILES:
        text = (Path(sysconfig.get_path("stdlib")) / name).read_bytes()
        (folder / name.replace("/", "_")).write_bytes(text)
    lines = [json.dumps({"text": topics[name]}) for name in names[24:34]]
    (folder / "more.jsonl").write_text("\n".join([*lines, '{"text": "cut in the mid', ""]), encoding="utf-8")
    write_junk(folder)


def write_junk(folder: Path) -> None:
    (folder / "empty.txt").touch()
    (folder / "noise.txt").write_bytes(b"\0\1\2 binary \0" * 500)
    (folder / "latin.txt").write_bytes("Des élèves fâchés à Noël.\n".encode("latin-1") * 40)
    (folder / "fake.parquet").write_text("this is text and no parquet\n" * 30, encoding="utf-8")


def web_page(title: str, text: str) -> str:
    paragraphs = "".join(f"<p>{html.escape(part)}</p>" for part in text.split("\n\n"))
    return f"<html><head><title>{title}</title></head><body><main><h1>{title}</h1>{paragraphs}</main></body></html>"
