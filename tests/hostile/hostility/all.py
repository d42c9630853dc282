"""Every kind of hostile file, in order."""

from __future__ import annotations

from hostility.archives import cases as archives
from hostility.case import Case
from hostility.containers import cases as containers
from hostility.folders import cases as folders
from hostility.pages import cases as pages
from hostility.records import cases as records
from hostility.texts import cases as texts

CASES: list[Case] = [*texts.all, *records.all, *archives.all, *containers.all, *pages.all, *folders.all]
