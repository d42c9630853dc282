"""The engine knows nothing of what it does: tasks that this file makes up, in any number of processes, killed at will."""

from __future__ import annotations

import os
import random
import sys

import pytest

from headwater.core.errors import DataError
from headwater.core.task_store import TaskFolder
from headwater.corpus.engine.local import engine_for
from headwater.corpus.engine.progress import Progress
from headwater.corpus.engine.tasks import Task, TaskSet
from headwater.corpus.sources.settings import EngineSettings

MADE_UP = """
import os, signal
from pathlib import Path

from headwater.core.task_output import TaskOutput
from headwater.core.task_store import TaskFolder

def maker(given, on_read, num_cores):
    place = TaskFolder(Path(given["folder"]))

    def do(task):
        if task.number in given["refused"]:
            raise ValueError("no such number")
        if task.number in given["killers"]:
            try:
                with open(place.top / f"killed-{task.number}", "x"):
                    os.kill(os.getpid(), signal.SIGKILL)
            except FileExistsError:
                pass
        on_read(task.number)
        with place.new(place.top / task.stage / str(task.number), TaskOutput) as output:
            output.facts = {"square": task.number**2}

    return do
"""


class Squares(TaskSet):
    def missing(self, tasks):
        paths = {task: self.folder / task.stage / str(task.number) for task in tasks}
        done = self.place.done(paths.values())
        return [task for task, path in paths.items() if path not in done]

    def name_of(self, task):
        return f"number {task.number}"

    def num_bytes_of(self, task):
        return task.number


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_any_tasks_are_done_by_any_number_of_processes(tmp_path, monkeypatch, workers):
    (tmp_path / "made_up.py").write_text(MADE_UP)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    chance, count = random.Random(workers), 12
    given = {"folder": str(tmp_path / "work"), "refused": [], "killers": []}
    if workers > 1:
        given["killers"] = chance.sample(range(count), 3)
    squares, said = Squares(tmp_path / "work", TaskFolder(tmp_path / "work"), "made_up:maker", given), []
    (tmp_path / "work").mkdir()
    tasks = [Task("squares", number) for number in range(count)]
    with engine_for(EngineSettings(workers=workers), squares, count) as engine:
        engine.run(tasks, Progress(squares, "squares", count, tasks, said.append))
    found = [squares.place.output(tmp_path / "work" / "squares" / str(number)).facts for number in range(count)]
    assert found == [{"square": number**2} for number in range(count)]
    assert sum("its process was ended by Killed" in line for line in said) == len(given["killers"]), said


def test_a_task_that_fails_three_times_is_named(tmp_path, monkeypatch):
    (tmp_path / "made_up.py").write_text(MADE_UP)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    given = {"folder": str(tmp_path / "work"), "refused": [3], "killers": []}
    squares = Squares(tmp_path / "work", TaskFolder(tmp_path / "work"), "made_up:maker", given)
    tasks = [Task("squares", number) for number in range(5)]
    with (
        pytest.raises(
            DataError, match=r"number 3 \(squares\) could not be done in 3 tries: ValueError: no such number"
        ),
        engine_for(EngineSettings(workers=2), squares, 5) as engine,
    ):
        engine.run(tasks, Progress(squares, "squares", 5, tasks, lambda line: None))
