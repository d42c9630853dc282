from __future__ import annotations

import json
import os
import random

import pytest
from pydantic import ValidationError

from headwater.core.errors import ConfigError, DataError
from headwater.core.task_output import work_folder
from headwater.corpus.build import build_corpus
from headwater.corpus.sources.settings import CorpusSettings, EngineSettings

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
    """Put a fake sbatch before everything else on the path; return the file where its calls are noted."""
    (tmp_path / "bin").mkdir()
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.write_text(FAKE_SBATCH)
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", f"{sbatch.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("KILLED", "")
    (tmp_path / "calls").touch()
    return tmp_path / "calls"


@pytest.fixture
def build(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    chance = random.Random(0)
    for number in range(6):
        lines = [" ".join(chance.choices(["river", "stone", "cloud", "garden"], k=70)) for _ in range(12)]
        (folder / f"{number}.jsonl").write_text("\n".join(json.dumps({"text": line}) for line in lines))

    def build_by(name, out="corpus", **engine):
        sources = {"mine": {"paths": [str(folder)]}}
        table = {"sources": sources, "task_bytes": 1000, "engine": {"name": name, **engine}}
        return build_corpus(CorpusSettings.model_validate(table), tmp_path / out, lambda line: None)

    return build_by


@pytest.mark.slow
def test_what_killed_jobs_leave_undone_is_submitted_again_and_nothing_else(build, cluster, monkeypatch):
    expected = build("local", out="expected", workers=1)
    monkeypatch.setenv("KILLED", "1:1 2:0")
    assert build("slurm", workers=3, slurm_options=["--partition=cpu"])["digest"] == expected["digest"]
    calls = cluster.read_text().splitlines()
    assert all("--wait" in call and "--partition=cpu" in call for call in calls)
    arrays = [call.split("--array=0-")[1].split()[0] for call in calls if "headwater-filter" in call]
    assert arrays == ["2", "1", "0"], "three jobs, then the two tasks of one, then the one of those that was left"


def test_tasks_that_never_end_well_are_reported_with_their_files(build, cluster, monkeypatch, tmp_path):
    monkeypatch.setenv("KILLED", " ".join(f"{array}:{job}" for array in range(1, 4) for job in range(6)))
    with pytest.raises(
        DataError, match=r"source mine \(\S+0\.jsonl.*\(filter\) could not be done in 3 tries: its job ended"
    ):
        build("slurm")
    assert (work_folder(tmp_path / "corpus") / "slurm" / "filter-0" / "array.sh").is_file()


def test_without_slurm_the_error_says_what_to_do(build, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"sbatch is not on this machine's path.*corpus\.engine\.name=local"):
        build("slurm")


@pytest.mark.parametrize(
    "option",
    ["evil.sh", "--wrap=evil", "--wr=evil", "--export=ALL,BASH_ENV=evil", "--chdir=/", "-p", "--partition", ""],
)
def test_a_run_file_gives_slurm_no_other_command(option):
    with pytest.raises(ValidationError, match="none of those that choose where jobs run"):
        EngineSettings(name="slurm", slurm_options=["--partition=cpu", option])


def test_options_that_slurm_refuses_come_back_as_it_says(build, cluster, tmp_path):
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.write_text("#!/bin/bash\necho 'error: invalid partition specified: gpu' >&2\nexit 1\n")
    with pytest.raises(ConfigError, match="sbatch refuses the jobs: error: invalid partition specified: gpu"):
        build("slurm", slurm_options=["--partition=gpu"])
