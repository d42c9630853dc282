"""A small run beside a run: on its text, in a folder of its own below the run's, and done once.

Ladders and searches for a mixture train many. Each resumes from its own checkpoint, and what
it measured is kept under the key of its settings and text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headwater.checkpoint.lock import owned
from headwater.files import digest_json, link_folder, make_folder, remove_folder, write_json
from headwater.optim.rules import Reason
from headwater.records import Record, read_records
from headwater.runs.paths import Folders, Say, read_json_or_none, stage_digest
from headwater.runs.run_config import RunConfig
from headwater.runs.stages import is_trained, tidy, write_config
from headwater.train.loop import Display


@dataclass(frozen=True)
class SmallRun:
    """A small run with its settings, of the run `beside`; what it measured lies in `file` of its folder."""

    beside: RunConfig
    config: RunConfig
    reasons: list[Reason]
    file: str

    @property
    def key(self) -> str:
        """What its measurements depend on: its settings, but for where it lies, and the run's text."""
        settings = self.config.model_dump(mode="json") | {"mixture": self.config.mixture.as_key()}
        del settings["runs_dir"]
        return digest_json({"settings": settings, "text": stage_digest(Folders(self.beside.run_dir).tokens)})

    def measured(self) -> dict[str, Any] | None:
        """Return what `keep` wrote, when it was for these settings and this text."""
        found = read_json_or_none(self.config.run_dir / self.file)
        return found if isinstance(found, dict) and found.get("key") == self.key else None

    def keep(self, found: Mapping[str, Any]) -> None:
        write_json(self.config.run_dir / self.file, {"key": self.key, **found})

    def records(self) -> list[Record]:
        return read_records(self.config.run_dir / "records.jsonl")

    def last(self, event: str) -> Record:
        return [record for record in self.records() if record["event"] == event][-1]

    def train(self, display: Display, say: Say) -> bool:
        """Train it to its end, in a new folder where one of other settings or text is there; False after a signal."""
        from headwater.runs.training import train_stage

        folder, key = self.config.run_dir, {"key": self.key}
        if read_json_or_none(folder / "key.json") != key:
            remove_folder(folder)
            make_folder(folder)
            write_json(folder / "key.json", key)
        with owned(folder) as owner:
            tidy(Folders(folder))
            link_folder(Folders(folder).data, Folders(self.beside.run_dir).data)
            write_config(self.config, self.reasons, owner.require)
            return is_trained(self.config) or train_stage(self.config, display, say, require_owner=owner.require)
