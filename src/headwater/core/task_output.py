"""What a task makes: a folder that appears as a whole, with its facts and the digests of its files in task.json.

Outputs lie in a work folder beside what is made from them, under its key, and are removed when that is done. Nothing
is flushed to the device, since all of it can be made again: what a power cut damaged is found by its digests.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from headwater.core.errors import DataError
from headwater.core.files import (
    create,
    digest_file,
    digest_json,
    json_bytes,
    new_scratch_folder,
    read_json,
    remove_folder,
    remove_leftovers,
)

TASK_FILE = "task.json"


def work_folder(made_dir: Path) -> Path:
    """Return where what `made_dir` will hold is worked on.

    The name is hidden, so that no source of text that holds the run reads it.
    """
    return made_dir.with_name(f".{made_dir.name}-work")


@dataclass
class TaskOutput:
    """A task's folder before it is committed: its facts and its files' digests are written with it."""

    folder: Path
    facts: dict[str, Any] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)


OutputKind = TypeVar("OutputKind", bound=TaskOutput)


@contextmanager
def new_output(path: Path, kind: type[OutputKind]) -> Iterator[OutputKind]:
    """Yield an output that becomes `path`, which must not exist, when the block ends without an error."""
    with new_scratch_folder(path) as folder:
        output = kind(folder)
        yield output
        sizes = {name: (folder / name).stat().st_size for name in output.digests}
        made = {"facts": output.facts, "files": output.digests, "sizes": sizes}
        with create(folder / TASK_FILE) as file:
            file.write(json_bytes({**made, "digest": digest_json(made)}))


def read_output(folder: Path) -> TaskOutput:
    """Return the output that became `folder`; raise DataError where it isn't one."""
    try:
        made = read_json(folder / TASK_FILE)
        return TaskOutput(folder, dict(made["facts"]), dict(made["files"]), dict(made["sizes"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder} is no finished task ({error}); remove it and give the same command again") from error


def is_whole(folder: Path) -> bool:
    """Return whether an output is as it was written; one whose files were moved isn't."""
    try:
        made = read_json(folder / TASK_FILE)
        digest, files = made.pop("digest"), made["files"]
        is_same = all(digest_file(folder / name) == files[name] for name in files)
        return is_same and bool(digest == digest_json(made))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def remove_short(folder: Path) -> None:
    """Remove what a killed process left in a folder of outputs, and each output of which a file is not of its size."""
    remove_leftovers(folder)
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if not _has_its_sizes(path):
            remove_folder(path)


def _has_its_sizes(folder: Path) -> bool:
    try:
        sizes = read_json(folder / TASK_FILE)["sizes"]
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
