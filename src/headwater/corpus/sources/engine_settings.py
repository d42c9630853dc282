"""Settings of who does the work of a corpus: nothing here changes what is in it."""

from __future__ import annotations

from pydantic import Field, model_validator

from headwater.core.config import Settings
from headwater.core.errors import DataError
from headwater.core.stores import is_address, refuse_secrets

SLURM_OPTIONS = {
    *("account", "clusters", "constraint", "comment", "cpus-per-task", "exclude", "gres", "licenses", "mem"),
    *("mem-per-cpu", "nice", "nodelist", "partition", "prefer", "qos", "reservation", "time", "tmp"),
}
"Those of sbatch that a run file may set: others run a command, change the environment, or write elsewhere."


class EngineSettings(Settings):
    """Who does the work. Nothing here changes the corpus."""

    name: str = "local"
    """Processes here (local), a Slurm cluster (slurm), Ray on this machine (ray) or the cluster at ray://HOST:PORT."""
    workers: int | None = Field(default=None, ge=1)
    """Worker processes; by default as many as this machine has cores. One needs no process of its own."""
    task_memory_bytes: int = Field(default=4_000_000_000, ge=100_000_000)
    """A worker that takes more is replaced; after three failures of a task the build ends and names its files."""
    task_seconds: float = Field(default=4 * 3600.0, gt=0)
    """A worker that takes longer for one task is replaced."""
    silent_seconds: float = Field(default=60.0, gt=0)
    """A worker that gives no sign of life for that long is replaced."""
    max_failed_fraction: float = Field(default=0.01, ge=0, le=1)
    """Share of a source's documents that a step may raise on (step_failed); with more, and ten at least, it ends."""
    max_away_seconds: float = Field(default=12 * 3600.0, ge=0)
    """How long tasks are tried again if a network or a store is away: a night, since a build may take days."""
    store: str | None = None
    """Address for the work and the corpus ("s3://bucket/corpus"), in place of a disk that all machines see; of one
    corpus alone. Credentials are those of the environment."""
    slurm_options: list[str] = []
    """Options of sbatch that choose where jobs run, such as "--partition=cpu"."""

    @model_validator(mode="after")
    def _known_name(self) -> EngineSettings:
        if self.name not in ("local", "slurm", "ray") and not self.name.startswith("ray://"):
            raise ValueError(f"engine {self.name!r}: use local, slurm, ray or ray://ADDRESS")
        if self.store is not None:
            if not is_address(self.store):
                raise ValueError(f"store {self.store!r} is no address; write one such as s3://bucket/corpus")
            try:
                refuse_secrets(self.store, "corpus.engine.store")
            except DataError as error:
                raise ValueError(str(error)) from None
        for option in self.slurm_options:
            name, is_value, _ = option.partition("=")
            if name.removeprefix("--") not in SLURM_OPTIONS or not name.startswith("--") or not is_value:
                raise ValueError(
                    f"slurm_options: {option!r} is none of those that choose where jobs run; write --NAME=VALUE with "
                    f"one of {', '.join(sorted(SLURM_OPTIONS))}"
                )
        return self
