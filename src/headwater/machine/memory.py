"""How much memory this machine has. No torch."""

from __future__ import annotations

import os


def memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
