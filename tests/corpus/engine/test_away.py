"""A network that is away for hours costs hours, whichever engine does the work, and a lost node what it did.

Nothing here waits.
"""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
from fake_ray import FakeRay
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from headwater.core.errors import ConfigError, DataError, PassingError
from headwater.corpus.engine import local, slurm
from headwater.corpus.engine.engine import LONGEST_WAIT_SECONDS
from headwater.corpus.engine.ray_cluster import RayCluster
from headwater.corpus.engine.tasks import Task
from headwater.corpus.engine.workers import Worker, failure_of, outcome_of
from headwater.corpus.sources.settings import EngineSettings

TRY_SECONDS = 63.0  # that a task takes which fails


class Network:
    """A clock, and tasks that fail for as long as what they read is away; those of even numbers read nothing."""

    def __init__(self, away_seconds: float, lasting: frozenset[int]) -> None:
        self.now, self.back_at, self.lasting = 0.0, away_seconds, lasting
        self.done: set[int] = set()
        self.done_tasks: list[Task] = []
        self.tries = 0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert 0 <= seconds <= LONGEST_WAIT_SECONDS
        self.now += max(seconds, 0.001)

    def do(self, number: int) -> None:
        self.tries += 1
        if number in self.lasting:
            raise DataError("no such file")
        if number % 2 and self.now < self.back_at:
            self.now += TRY_SECONDS
            raise PassingError("the store is away")
        self.now += 1.0
        self.done.add(number)

    def message_of(self, number: int) -> dict[str, Any]:
        return outcome_of(lambda: self.do(number))


def in_process(network, task_set, given, patch):
    patch.setattr(local, "doer_of", lambda *maker: lambda task: network.do(task.number))
    return local.InProcess(task_set, given, network.clock, network.sleep)


def local_pool(network, task_set, given, patch):
    class Fake(Worker):
        def __init__(self, task_set, memory_bytes, now):
            super().__init__(now)

        def taken_outcomes(self):
            if self.task is not None:
                self.take_up(network.message_of(self.task.number))
            return super().taken_outcomes()

        def end(self):
            pass

    patch.setattr(local, "WorkerProcess", Fake)
    patch.setattr(local.Pool, "_listen", lambda self, seconds: network.sleep(seconds))
    return local.Pool(task_set, given, 2, network.clock)


def ray(network, task_set, given, patch, **cluster):
    patch.setitem(sys.modules, "ray", FakeRay(network, **cluster))
    return RayCluster(task_set, given, network.clock, network.sleep)


def slurm_array(network, task_set, given, patch):
    class Array:
        def __init__(self, task_set, tasks, attempt, given):
            self.tasks, self.outcomes = tasks, {}

        def do(self, progress):
            for task in self.tasks:
                self.outcomes[task] = network.message_of(task.number)
                if task.number in network.done:
                    progress.done(task)

        def failures(self, undone):
            return [(task, failure_of(self.outcomes[task])) for task in self.tasks if task in undone]

    patch.setattr(slurm, "_Array", Array)
    return slurm.Slurm(task_set, given, network.clock, network.sleep)


ENGINES = [in_process, local_pool, ray, slurm_array]


def run(make, away_seconds, num_tasks, lasting=frozenset(), **given):
    network = Network(away_seconds, lasting)
    task_set = SimpleNamespace(
        **{"maker": "", "given": {}, "address": "/work", "gpus_of": lambda stage: 0.0},
        missing=lambda tasks: [task for task in tasks if task.number not in network.done],
        name_of=lambda task: f"part {task.number}",
    )
    ignore = {"failed": lambda task, why: None, "read": lambda num_bytes: None}
    progress = SimpleNamespace(done=network.done_tasks.append, **ignore)
    with (
        pytest.MonkeyPatch.context() as patch,
        make(network, task_set, EngineSettings.model_validate(given), patch) as engine,
    ):
        engine.run([Task("texts", number) for number in range(num_tasks)], progress)
    return network


@pytest.mark.parametrize("make", ENGINES)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(away_seconds=st.floats(0, 11 * 3600), num_tasks=st.integers(1, 9))
@example(away_seconds=120.0, num_tasks=2)
def test_a_network_that_is_away_for_hours_costs_time_and_no_task(make, away_seconds, num_tasks):
    network = run(make, away_seconds, num_tasks)
    assert sorted(task.number for task in network.done_tasks) == list(range(num_tasks))
    assert network.now <= away_seconds + LONGEST_WAIT_SECONDS + (TRY_SECONDS + 1) * num_tasks + 60
    assert network.tries <= num_tasks * (12 + away_seconds / LONGEST_WAIT_SECONDS)


@pytest.mark.parametrize("make", ENGINES)
@settings(max_examples=10, deadline=None)
@given(max_away_seconds=st.floats(0, 3600), num_tasks=st.integers(2, 5))
def test_one_that_stays_away_longer_than_the_setting_ends_the_build(make, max_away_seconds, num_tasks):
    with pytest.raises(PassingError, match=r"the store is away.*max_away_seconds=.*the same command goes on"):
        run(make, 1e9, num_tasks, max_away_seconds=max_away_seconds)


@pytest.mark.parametrize("make", ENGINES)
def test_what_lasts_ends_the_build_immediately(make):
    with pytest.raises(DataError, match="no such file") as error:
        run(make, 0.0, 3, lasting=frozenset({1}))
    assert not isinstance(error.value, PassingError)


@settings(max_examples=100, deadline=None)
@given(data=st.data(), num_nodes=st.integers(2, 5), num_cores=st.integers(1, 4), num_tasks=st.integers(1, 40))
def test_lost_nodes_cost_what_they_did_and_end_no_build(data, num_nodes, num_cores, num_tasks):
    """Up to two nodes are lost, at any time: a task fails once with each at the most, and the third failure ends it."""
    lost = data.draw(st.lists(st.integers(0, num_nodes - 1), unique=True, max_size=min(2, num_nodes - 1)))
    times = sorted(data.draw(st.lists(st.floats(0, num_tasks), min_size=len(lost), max_size=len(lost))))

    def make(network, task_set, given, patch):
        return ray(network, task_set, given, patch, num_nodes=num_nodes, num_cores=num_cores, losses=zip(times, lost))

    network = run(make, 0.0, num_tasks)
    assert sorted(task.number for task in network.done_tasks) == list(range(num_tasks))


def test_a_cluster_without_room_for_a_task_is_refused():
    with pytest.raises(ConfigError, match=r"no node of the Ray cluster has a core, 4,000 MB .*task_memory_bytes"):
        run(lambda *arguments: ray(*arguments, num_nodes=0), 0.0, 3)


def test_nodes_that_cannot_start_a_process_end_the_build_and_say_why():
    class Broken(FakeRay):
        def get(self, call):
            raise self.exceptions.RayError("The actor died\nModuleNotFoundError: No module named 'headwater'")

    def make(network, task_set, given, patch):
        patch.setitem(sys.modules, "ray", Broken(network))
        return RayCluster(task_set, given, network.clock, network.sleep)

    with pytest.raises(ConfigError, match=r"can't start: ModuleNotFoundError: No module .* every node needs"):
        run(make, 0.0, 3)
