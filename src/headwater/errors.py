"""Every error that headwater raises on purpose."""

from __future__ import annotations


class HeadwaterError(Exception):
    """Something the user can act on: the message says what is wrong, what was found and what to do. No traceback."""

    exit_status = 1
    is_logged = False  # where the log of its rank has the message already


class ConfigError(HeadwaterError):
    """A setting is wrong, missing or unknown."""

    exit_status = 2


class LayoutError(ConfigError):
    """The ranks of a run can't lie as they should: all of them find the same, and the first one says it."""


class DataError(HeadwaterError):
    """An input holds nothing usable, or is not what its name says."""


class TokenizerError(HeadwaterError):
    """A tokenizer can't be trained or loaded."""


class StoreError(HeadwaterError):
    """A token store is damaged or doesn't fit its tokenizer."""


class CheckpointError(HeadwaterError):
    """No checkpoint can be used, or one is damaged."""


class LockedError(HeadwaterError):
    """Another process owns this folder."""


class StorageError(HeadwaterError):
    """The disk refused a write: full, read-only, no permission."""


class EvaluationError(HeadwaterError):
    """There is nothing to score."""


class ExportError(HeadwaterError):
    """The model can't be written in that format."""


class TrainingError(HeadwaterError):
    """Training can't continue: no finite step, for instance, or a log that is damaged."""


class LostRanksError(TrainingError):
    """Other ranks of the run have ended, or are out of reach; the reason is theirs."""
