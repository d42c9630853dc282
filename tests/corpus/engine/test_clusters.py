"""Slurm: the corpus that one process makes; Slurm and Ray: what is said where they are missing or fail."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace

import pytest
from pydantic import ValidationError

from headwater.core.errors import ConfigError, DataError
from headwater.corpus.build import build_corpus
from headwater.corpus.engine.ray_cluster import RayCluster
from headwater.corpus.sources.settings import CorpusSettings, EngineSettings


def refuse(*arguments, **options):
    raise ConnectionError("ray client connection timeout")


@pytest.mark.parametrize(
    ("ray", "name", "message"),
    [
        (SimpleNamespace(init=refuse), "ray://nowhere:10001", r"no Ray .* at ray://nowhere:10001 \(ray client connect"),
        (None, "ray", r"pip install headwater\[ray\]"),
    ],
)
def test_ray_that_is_not_there_or_does_not_answer_is_reported(build_of, tmp_path, monkeypatch, ray, name, message):
    monkeypatch.setitem(sys.modules, "ray", ray)
    with pytest.raises(ConfigError, match=message):
        build_of(tmp_path / "corpus", name=name)


@pytest.mark.parametrize("num_broken", range(4))
def test_a_connection_that_ray_breaks_off_is_tried_two_times_again(monkeypatch, num_broken):
    results = iter([*[ConnectionAbortedError("starting the server failed")] * num_broken, None])

    def init(address, **options):
        if (error := next(results)) is not None:
            raise error

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=init))
    cluster = RayCluster(SimpleNamespace(), EngineSettings(name="ray://h:1"), sleep=lambda seconds: None)
    if num_broken < 3:
        assert cluster.__enter__() is cluster
    else:
        with pytest.raises(ConfigError, match="starting the server failed"):
            cluster.__enter__()


# a cluster of one machine: jobs one after another; those named in $KILLED, by the number of the array, never start
FAKE_SBATCH = """#!/bin/bash
echo "$@" >> "$CALLS"
array=$(wc -l < "$CALLS")
for word in "$@"; do
    case $word in
        --array=*) last=${word#--array=0-} ;;
        --output=*) log=${word#--output=} ;;
        --chdir=*) cd "${word#--chdir=}" ;;
    esac
done
script=$word
echo 17
status=0
for job in $(seq 0 "$last"); do
    if [[ " $KILLED " == *" $array:$job "* ]]; then status=1; continue; fi
    SLURM_ARRAY_TASK_ID=$job bash "$script" > "${log/\\%a/$job}" 2>&1 || status=1
done
exit $status
"""


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """Put a fake sbatch before everything else on the path; return a function that writes another."""
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    sbatch.touch(0o755)
    sbatch.write_text(FAKE_SBATCH)
    (tmp_path / "calls").touch()
    for name, value in {
        "PATH": f"{sbatch.parent}:{os.environ['PATH']}",
        "CALLS": str(tmp_path / "calls"),
        "KILLED": "",
    }.items():
        monkeypatch.setenv(name, value)
    return sbatch.write_text


def test_what_killed_jobs_of_slurm_leave_undone_is_submitted_again_and_nothing_else(
    build_of, is_as_expected, cluster, monkeypatch, tmp_path
):
    """Five seconds: each job of an array is a process that imports all that reads texts."""
    monkeypatch.setenv("KILLED", "1:1 2:0")
    build_of(tmp_path / "corpus", name="slurm", workers=3, slurm_options=["--partition=cpu"])
    assert is_as_expected(tmp_path / "corpus")
    calls = (tmp_path / "calls").read_text().splitlines()
    assert all("--wait" in call and "--partition=cpu" in call for call in calls)
    arrays = [call.split("--array=0-")[1].split()[0] for call in calls if "headwater-texts" in call]
    assert arrays == ["2", "2", "0"], "three jobs, then the tasks of one by three, then the one of those that was left"


@pytest.mark.parametrize("store", [None, "file://{}/store"])
def test_what_a_job_of_slurm_fails_at_is_said_wherever_its_work_is(cluster, tmp_path, store):
    (tmp_path / "mine.py").write_text(FAILS)
    (tmp_path / "a.txt").write_text("Some text.")
    sources = {"mine": {"paths": [str(tmp_path / "a.txt")]}}
    table = {"sources": sources, "measures": {"mine": {"class": f"{tmp_path}/mine.py:Fails"}}}
    engine = {"name": "slurm", "store": store and store.format(tmp_path)}
    with pytest.raises(DataError, match=r"^measure Fails failed on 1 texts: ArithmeticError: no such luck$"):
        build_corpus(CorpusSettings.model_validate(table | {"engine": engine}), tmp_path / "corpus", print)
    calls = (tmp_path / "calls").read_text().splitlines()
    assert sum("headwater-columns" in call for call in calls) == 1, "no other try can end otherwise"


FAILS = """
from headwater.corpus import Column, Measure

class Fails(Measure):
    columns = {"luck": Column(int, "luck")}

    def measure(self, texts):
        raise ArithmeticError("no such luck")
"""


def test_without_slurm_the_error_says_what_to_do(build_of, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"sbatch is not on this machine's path.*corpus\.engine\.name=local"):
        build_of(tmp_path / "corpus", name="slurm")


@pytest.mark.parametrize(
    "option",
    ["evil.sh", "--wrap=evil", "--wr=evil", "--export=ALL,BASH_ENV=evil", "--chdir=/", "-p", "--partition", ""],
)
def test_a_run_file_gives_slurm_no_other_command(option):
    with pytest.raises(ValidationError, match="none of those that choose where jobs run"):
        EngineSettings(name="slurm", slurm_options=["--partition=cpu", option])


def test_options_that_slurm_refuses_come_back_as_it_says(build_of, cluster, tmp_path):
    cluster("#!/bin/bash\necho 'error: invalid partition specified: gpu' >&2\nexit 1\n")
    with pytest.raises(ConfigError, match="sbatch refuses the jobs: error: invalid partition specified: gpu"):
        build_of(tmp_path / "corpus", name="slurm", slurm_options=["--partition=gpu"])
