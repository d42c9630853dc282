"""What a task makes: a folder that appears at once, with its facts and the digests of its files in task.json.

Nothing is flushed to the device, since all of it can be made again: what a power cut damaged is found by its digests.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from headwater.errors import DataError
from headwater.files import create, digest_file, digest_json, json_bytes, new_scratch_folder, read_json

TASK_FILE = "task.json"


@dataclass
class Output:
    """A task's folder before it is committed: its facts and its files' digests are written with it."""

    folder: Path
    facts: dict[str, Any] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)


OutputKind = TypeVar("OutputKind", bound=Output)


@contextmanager
def new_output(path: Path, kind: type[OutputKind]) -> Iterator[OutputKind]:
    """Yield an output that becomes `path`, which must not exist, when the block ends without an error."""
    with new_scratch_folder(path) as folder:
        output = kind(folder)
        yield output
        made = {"facts": output.facts, "files": output.digests}
        with create(folder / TASK_FILE) as file:
            file.write(json_bytes({**made, "digest": digest_json(made)}))


def read_output(folder: Path) -> Output:
    """Return the output that became `folder`; raise DataError where it isn't one."""
    try:
        made = read_json(folder / TASK_FILE)
        return Output(folder, dict(made["facts"]), dict(made["files"]))
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
