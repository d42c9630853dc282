"""Every error that headwater raises on purpose.

HeadwaterError          something the user can act on; shown without a traceback
├── ConfigError         a setting is wrong, missing or unknown (exit status 2)
├── DataError           an input holds nothing usable, or is not what its name says
├── TokenizerError      a tokenizer can't be trained or loaded
├── StoreError          a token store is damaged or doesn't fit its tokenizer
├── CheckpointError     no checkpoint can be used, or one is damaged
├── LockedError         another process owns this folder
├── StorageError        the disk refused a write: full, read-only, no permission
├── EvaluationError     there is nothing to score
├── ExportError         the model can't be written in that format
└── TrainingError       training can't continue (no finite step, for instance)
"""

from __future__ import annotations


class HeadwaterError(Exception):
    """Something the user can act on: the message says what is wrong, what was found and what to do."""

    exit_status = 1


class ConfigError(HeadwaterError):
    exit_status = 2


class DataError(HeadwaterError):
    pass


class TokenizerError(HeadwaterError):
    pass


class StoreError(HeadwaterError):
    pass


class CheckpointError(HeadwaterError):
    pass


class LockedError(HeadwaterError):
    pass


class StorageError(HeadwaterError):
    pass


class EvaluationError(HeadwaterError):
    pass


class ExportError(HeadwaterError):
    pass


class TrainingError(HeadwaterError):
    pass
