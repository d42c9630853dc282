"""One thread for all, no waiting for the disk, the same examples of property tests each time, and one finished run."""

from __future__ import annotations

import gc
import json
import os

# before numpy and torch are imported: threads that wait for each other take minutes where the processors are busy
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from finished_run import FinishedRun, finish_a_run
from hypothesis import settings
from made_packages import write_deb, write_wheel

settings.register_profile("headwater", deadline=None, derandomize=True, database=None, max_examples=60)
settings.register_profile("many", deadline=None, derandomize=False, database=None, max_examples=2500)  # make drawn-runs
settings.load_profile("headwater")


DURATIONS = Path(__file__).with_name("durations.json")


def pytest_collection_finish() -> None:
    """Take what is there for good: a collection of garbage would look at the suite's 750,000 objects, twice a run."""
    gc.collect()
    gc.freeze()


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Keep bytes out of the names of cases: an archive holds the time it was made, and all workers must agree on names."""
    return argname if isinstance(val, bytes) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files first that take longest, so that no worker is alone with one at the end; `make check` runs the others."""
    seconds = Counter[str](json.loads(DURATIONS.read_text(encoding="utf-8"))["files over 1 s"])
    items.sort(key=lambda item: -seconds[_file_of(item.nodeid)])
    for item in items:
        if _file_of(item.nodeid) in seconds:
            item.add_marker("slow")


def pytest_terminal_summary(terminalreporter) -> None:
    """Write what folders and files of tests took, and each test of over five seconds, its cases together: `make durations`."""
    if not (path := os.environ.get("HEADWATER_DURATIONS")):
        return
    folders, files, tests = Counter[str](), Counter[str](), Counter[str]()
    for report in (report for reports in terminalreporter.stats.values() for report in reports):
        if hasattr(report, "duration"):
            file = _file_of(report.nodeid)
            folders[os.path.dirname(file)] += report.duration
            files[file] += report.duration
            tests[report.nodeid.partition("[")[0]] += report.duration
    found = {"folders": (folders, 0.0), "files over 1 s": (files, 1.0), "tests over 5 s": (tests, 5.0)}
    table = {
        what: {name: round(took, 1) for name, took in sorted(seconds.items()) if took > least}
        for what, (seconds, least) in found.items()
    }
    Path(path).write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


def _file_of(test: str) -> str:
    return test.partition("::")[0]


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk() -> Iterator[None]:
    """A flush matters to a power cut alone (tests/core/test_files.py checks their order); thousands are slow on a busy disk."""
    with mock.patch("os.fsync", lambda handle: None):
        yield


@pytest.fixture(scope="session", autouse=True)
def what_is_there_for_good_stays_so() -> Iterator[None]:
    """A run would put all back where it ends."""
    with mock.patch.object(gc, "unfreeze", lambda: None):
        yield


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> FinishedRun:
    """One small run from raw text to report, made once for all tests by the two commands a user types."""
    return finish_a_run(tmp_path_factory.mktemp("finished"))


@pytest.fixture
def quick_machine(monkeypatch) -> None:
    """Take the machine's peak as given: measuring it is a second of matrix products."""
    monkeypatch.setattr("headwater.machine.compute.matmul_peaks", lambda device, dtypes: dict.fromkeys(dtypes, 1e11))


@pytest.fixture
def forbid(monkeypatch) -> Callable[[Path], None]:
    """Return a function that forbids this process to read a file or a folder; what root may do anyway is feigned."""
    forbidden: set[str] = set()
    access, scandir = os.access, os.scandir

    def scandir_if_allowed(path: Any = ".") -> Any:
        if str(path) in forbidden:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    def forbid_one(path: Path) -> None:
        forbidden.add(str(path))

    monkeypatch.setattr(os, "access", lambda path, *rest, **named: str(path) not in forbidden and access(path, *rest))
    monkeypatch.setattr(os, "scandir", scandir_if_allowed)
    return forbid_one


@pytest.fixture
def make_deb(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes archives/NAME_VERSION_all.deb with these files and returns its path."""
    return partial(write_deb, tmp_path / "archives")


@pytest.fixture
def make_wheel(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes archives/NAME-VERSION-py3-none-any.whl and returns its path."""
    return partial(write_wheel, tmp_path / "archives")
