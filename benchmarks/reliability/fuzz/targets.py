"""Every harness, in the order in which they are run."""

from __future__ import annotations

from fuzz.containers import TARGETS as CONTAINERS
from fuzz.documents import TARGETS as DOCUMENTS
from fuzz.packages import TARGETS as PACKAGES
from fuzz.settings import TARGETS as SETTINGS
from fuzz.stores import TARGETS as STORES
from fuzz.target import Target

TARGETS: tuple[Target, ...] = (*DOCUMENTS, *CONTAINERS, *PACKAGES, *SETTINGS, *STORES)
