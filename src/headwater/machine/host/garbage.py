"""Python's garbage collector runs where training pauses, not in the middle of a step. No torch."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collected_on_request() -> Iterator[None]:
    """Collect nothing by itself, inside: the caller does so where there is time, by gc.collect.

    By itself it stops a thread whenever so many objects were made, and on many ranks each at another moment, while
    the others wait. What is there already is never looked at again, inside.
    """
    was_enabled = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if was_enabled:
            gc.enable()
