"""Which engine does the work: the one that the settings name."""

from __future__ import annotations

from headwater.corpus.engine.in_process import InProcess
from headwater.corpus.engine.interface import Engine
from headwater.corpus.settings import EngineSettings
from headwater.corpus.tasks.work import Work


def engine_for(settings: EngineSettings, work: Work) -> Engine:
    return InProcess(work.folder)
