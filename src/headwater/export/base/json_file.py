"""A JSON object of a stranger's folder: of a size that such a file may have, and with no key twice. No torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from headwater.core.errors import ConfigError
from headwater.tokens.tokenizer.pattern import without_twins

MAX_BYTES = 64_000_000


def read_object(path: Path) -> dict[str, Any]:
    """Return the object in a file; raise ConfigError that says what is wrong with it."""
    try:
        found = json.loads(read_bytes(path).decode(), object_pairs_hook=without_twins)
    except FileNotFoundError:
        raise ConfigError(f"there is no {path}") from None
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{path} holds no JSON object")
    return found


def read_bytes(path: Path) -> bytes:
    """Return what a file holds; raise ConfigError where that is more than such a file may have, OSError as it comes."""
    with open(path, "rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{path} has more than {MAX_BYTES:,} bytes; it is not what its name says")
    return data
