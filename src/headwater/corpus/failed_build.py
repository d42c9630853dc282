"""What a build leaves that kept too little for a corpus: its balance and what it dropped, for a person to see why.

The folder lies beside that of the corpus, under a hidden name, and has its form but for the splits; the next build that
makes a corpus removes it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from headwater.corpus.tasks.work import Work
from headwater.files import new_folder, read_manifest_or_none, remove_folder, share_file, write_json

_DROPPED = "dropped/"


def failed_build_folder(corpus_dir: Path) -> Path:
    return corpus_dir.with_name(f".{corpus_dir.name}-failed-build")


def has_failed(corpus_dir: Path) -> bool:
    """Return whether the last build kept too little for a corpus, whatever an earlier one made."""
    return bool(read_manifest_or_none(failed_build_folder(corpus_dir)))


def write_failed_build(
    work: Work, corpus_dir: Path, manifest: dict[str, Any], before_commit: Callable[[], None]
) -> None:
    """Move what was dropped out of the work folder, with the manifest that the corpus would have had."""
    shards: dict[str, str] = {}
    with new_folder(failed_build_folder(corpus_dir), replace=True, before_commit=before_commit) as folder:
        for part in work.plan.parts:
            digests = work.digests_of("write", part.number)
            for name in (name for name in digests if name.startswith(_DROPPED)):
                share_file(work.path_of("write", part.number) / name, folder / name)
                shards[name] = digests[name]
        write_json(folder / "manifest.json", {**manifest, "shards": shards})


def remove_failed_build(corpus_dir: Path) -> None:
    """Remove what a build left that kept too little."""
    remove_folder(failed_build_folder(corpus_dir))
