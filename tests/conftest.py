"""Property tests: the same examples each time, no time limit for one (the machine may be busy), nothing kept on disk."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("headwater", deadline=None, derandomize=True, database=None, max_examples=60)
settings.load_profile("headwater")
