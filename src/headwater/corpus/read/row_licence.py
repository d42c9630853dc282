"""Which licence the field of a row or record names, whatever form it has: a name, an object, or a list of them."""

from __future__ import annotations

import math
from typing import Any

from headwater.corpus.protect.spdx import UNKNOWN, all_of, handed_on

# of an object that describes a licence: the first of these that has something in it decides
_KEYS = ("spdx_id", "spdx", "id", "identifier", "type", "key", "name", "title", "url")
_MAX_IN_LIST = 50


def licence_of_value(value: Any) -> str:
    """Return what a value names as a licence, as it is written there; of several the expression of them all.

    "" only where nothing is named. A value that isn't understood whole is handed on where it is a short text, and
    "unknown" else, so that no document of it passes for one that names none.
    """
    if _is_empty(value):
        return ""
    if isinstance(value, list):
        named = [] if len(value) > _MAX_IN_LIST else [_name(each) for each in value if not _is_empty(each)]
        return all_of(named) or UNKNOWN
    return handed_on(_name(value))


def _name(value: Any) -> str:
    if isinstance(value, dict):
        value = next((value[key] for key in _KEYS if not _is_empty(value.get(key))), None)
    return value.strip() if isinstance(value, str) else UNKNOWN


def _is_empty(value: Any) -> bool:
    if isinstance(value, dict | list):
        return all(_is_empty(each) for each in (value.values() if isinstance(value, dict) else value))
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or (isinstance(value, str | bytes) and not value.strip())
