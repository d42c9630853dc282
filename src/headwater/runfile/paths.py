"""Where the parts of a run lie in its folder, and what their manifests say. Builds nothing, so every verb reads it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter

from headwater.core.files import read_json_or_none, read_manifest_or_none, write_json
from headwater.core.records import Record, read_attempts, table
from headwater.train.checkpoint.layout import STATE_FILE, checkpoint_of

Say = Callable[[str], None]
Require = Callable[[], None]
"Raises LockedError where another process has taken the run folder over."
Kept = TypeVar("Kept")
Value = TypeVar("Value")

CLOCK_TICK_SECONDS = 2.0
"The coarsest time of a file in use; what is written twice within it may have the same facts."


def ignore(_: object) -> None:
    """Show nothing of a record or a line."""


class Folders:
    """Where a run's stages lie."""

    def __init__(self, run: Path) -> None:
        self.run, self.data, self.ladder, self.export = run, run / "data", run / "ladder", run / "export"
        self.hf = self.export / "hf"
        names = ("corpus", "tokenizer", "tokens", "rows")
        self.base = self.data / "base.json"
        self.data_card = self.data / "data_card.json"  # of a run that was aligned: its text is that of another run
        self.corpus, self.tokenizer, self.tokens, self.rows = (self.data / name for name in names)


class RunFolder(Folders):
    """A run's folder as one call asks it: what was read of a file is kept for as long as the file stays the same.

    Whatever is written in a run's folder appears by a rename or is appended to, so inode, size and times tell; but of a
    file so new that a file system's clock couldn't tell it from the next one nothing is kept. What is returned is
    shared: nobody may change it.
    """

    def __init__(self, run: Path) -> None:
        super().__init__(run)
        self._kept: dict[tuple[Path, Any], tuple[Any, Any]] = {}

    def once(self, path: Path, read: Callable[[Path], Value]) -> Value:
        """Return what `read` makes of a file, as it did before unless the file has changed."""
        try:
            found = path.stat()
            facts = (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
            is_new = time.time() - found.st_mtime < CLOCK_TICK_SECONDS
        except OSError:
            facts, is_new = None, False  # it isn't there
        name = path.resolve(), read
        if is_new or name not in self._kept or self._kept[name][0] != facts:
            self._kept[name] = facts, read(path)
        return cast(Value, self._kept[name][1])

    def json(self, path: Path) -> Any:
        """Return what is in a file, or None where it is missing or damaged."""
        return self.once(path, read_json_or_none)

    def attempts(self) -> list[Record]:
        """Return the run's records, as `read_attempts` does."""
        return self.once(self.run / "records.jsonl", read_attempts)

    def manifest(self, stage: Path) -> dict[str, Any]:
        """Return the manifest of a stage's folder, or {} where it is missing or damaged."""
        return table(self.json(stage / "manifest.json"))

    def digest(self, stage: Path) -> str:
        """Return the digest of what a stage made, as its manifest says."""
        return str(self.manifest(stage).get("digest"))

    def state(self, checkpoint: Path) -> dict[str, Any]:
        """Return the state of a checkpoint; raise CheckpointError when it is damaged."""
        return self.once(checkpoint / STATE_FILE, self._state)

    def model_digest(self) -> str:
        """Return the digest of the newest weights; raise CheckpointError where there are none."""
        from headwater.train.checkpoint.verify import model_digest

        path = checkpoint_of(self.run)
        return model_digest(path, self.once(path / "manifest.json", _checked))

    def _state(self, file: Path) -> dict[str, Any]:
        from headwater.train.checkpoint.verify import read_state

        return read_state(file.parent, self.once(file.with_name("manifest.json"), _checked))


def _checked(manifest: Path) -> dict[str, Any]:
    from headwater.train.checkpoint.verify import checked_manifest  # a plan of a run that hasn't begun reads none

    return checked_manifest(manifest.parent)


def stage_digest(folder: Path) -> str:
    """Return the digest of what a stage made, as its manifest says."""
    return str(read_manifest_or_none(folder).get("digest"))


def of_split(run_dir: Path, split: str, name: str = "num_tokens") -> dict[str, int] | None:
    """Return {source: a number of its manifest} of a split of the run's text; None where it isn't prepared.

    `name` is num_tokens, num_bytes, or num_targets: the tokens that are learned, of most sources all.
    """
    try:
        sources = read_manifest_or_none(Folders(run_dir).tokens)["splits"][split]
        return {source: int(facts.get(name, facts["num_tokens"])) for source, facts in sources.items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def read_kept(path: Path, kind: type[Kept]) -> Kept | None:
    """Return what was kept of this kind, or None where it is missing, damaged or of another version."""
    try:
        return TypeAdapter(kind).validate_json(path.read_bytes())
    except (OSError, ValueError):  # pydantic's errors are ValueErrors
        return None


def write_kept(path: Path, value: Any) -> None:
    """Write a value for `read_kept`."""
    write_json(path, TypeAdapter(type(value)).dump_python(value, mode="json"))
