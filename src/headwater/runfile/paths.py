"""Where the parts of a run lie in its folder, and what their manifests say. Builds nothing, so every verb reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter

from headwater.core.errors import ConfigError
from headwater.core.files import no_check, read_manifest_or_none, write_json

Say = Callable[[str], None]
Require = Callable[[], None]
"Raises LockedError where another process has taken the run folder over."
Kept = TypeVar("Kept")


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


def write_kept(path: Path, value: Any, require_owner: Require = no_check) -> None:
    """Write a value for `read_kept`."""
    write_json(path, TypeAdapter(type(value)).dump_python(value, mode="json"), require_owner)


def require_run_dir(run_dir: Path) -> None:
    if not any((run_dir / name).is_file() for name in ("config.json", "records.jsonl")):
        raise ConfigError(f"{run_dir} is no run folder; runs made here lie in runs/")
