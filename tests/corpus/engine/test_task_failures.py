from __future__ import annotations

from types import SimpleNamespace

import pytest

from headwater.core.errors import DataError
from headwater.corpus.engine.engine import MAX_FAILURES, Failures
from headwater.corpus.engine.tasks import Task


class Heard:
    def __init__(self):
        self.lines = []

    def failed(self, task, why):
        self.lines.append((task, why))


@pytest.fixture
def heard():
    return Heard()


@pytest.fixture
def failures(heard):
    return Failures(SimpleNamespace(name_of=lambda task: f"{task.number}.txt"), heard)


def test_a_cancelled_array_is_reported_in_a_line(failures, heard):
    failures.add(*((Task("verify", number), "cancelled") for number in range(30_000)))
    assert heard.lines == [("0.txt (verify) (and 29,999 more)", "cancelled")]


def test_reasons_are_reported_by_how_many_tasks_they_have_and_the_rest_counted(failures, heard):
    reasons = [f"node {number} went down" for number in range(40)]
    failed = [(Task("verify", number), reasons[number % 40]) for number in range(400)]
    failures.add(*failed, *((Task("verify", number), "out of memory") for number in range(400, 450)))
    assert heard.lines[0] == ("400.txt (verify) (and 49 more)", "out of memory")
    assert heard.lines[1] == ("0.txt (verify) (and 9 more)", reasons[0])
    assert len(heard.lines) == 11
    assert heard.lines[-1] == ("each of 310 other tasks", "31 other reasons"), "every task is counted"


def test_the_third_failure_of_a_task_gives_its_file_and_each_reason_once(failures, heard):
    reading = Task("texts", 1)
    failures.add((reading, "killed"))
    failures.add((Task("texts", 0), "killed"), (reading, "out of memory"))
    assert len(heard.lines) == MAX_FAILURES
    with pytest.raises(DataError, match=r"1\.txt \(texts\) could not be done in 3 tries: killed; out of memory; the"):
        failures.add((reading, "killed"))
