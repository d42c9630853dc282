"""The settings of one run: the only thing that passes between `ablate.py` and the process that trains."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from headwater.files import digest_json
from job import Shape


@dataclass(frozen=True)
class Job:
    """One run of headwater with these settings, as section.setting=value.

    `code` is the digest of what trains and judges, so that a kept result is of this code.
    """

    texts: str
    shape: Shape
    seed: int
    num_steps: int
    settings: tuple[str, ...] = ()
    code: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Job:
        return cls(**{**value, "shape": Shape(**value["shape"]), "settings": tuple(value["settings"])})

    @property
    def digest(self) -> str:
        return digest_json(self.as_json())
