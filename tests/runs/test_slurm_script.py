"""What `headwater launch slurm` writes: a script that bash reads, and that ends in time for the run's own saves."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from small_run import run, write_run_file

from headwater.core.errors import ConfigError
from headwater.runs.slurm import Job, predicted_save_seconds, script

JOB = Job(
    "mine", ["python", "-m", "headwater", "train", "mine.toml"], Path("/a b"), Path("/a b/logs/%j"), 4, 4, 8, 90, 120
)


def test_bash_reads_it_and_it_says_what_was_given():
    text = script(replace(JOB, options=["--gpus-per-node=8"], command=[*JOB.command, "name=it's mine"]))
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    for line in ("--nodes=4", "--time=90", "'--chdir=/a b'", "--gpus-per-node=8", "--requeue", "--open-mode=append"):
        assert f"#SBATCH {line}\n" in text
    assert "--nnodes=4 --nproc-per-node=8" in text
    assert "--no-kill" not in text


@pytest.mark.parametrize("end", ["\n", "\r", "\x0b", "\u2028"])
def test_no_path_of_a_run_file_becomes_a_line_of_the_script(end):
    with pytest.raises(ConfigError, match="can't be written into a script"):
        script(replace(JOB, log=Path(f"/a{end}touch ran #/logs/%j")))


def test_the_command_arrives_whole(tmp_path):
    said = "import sys; print(sys.argv[1:])"
    (tmp_path / "srun").write_text('#!/bin/bash\nexec "$@"\n')
    (tmp_path / "scontrol").write_text("#!/bin/bash\necho first\n")
    (tmp_path / "python").write_text(f'#!/bin/bash\nexec python3 -c "{said}" "$@"\n')
    for name in ("srun", "scontrol", "python"):
        (tmp_path / name).chmod(0o755)
    text = script(replace(JOB, command=[str(tmp_path / "python"), *JOB.command[1:], "name=it's mine"]))
    variables = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NODELIST": "n",
        "SLURM_NODEID": "0",
    }
    found = subprocess.run(["bash"], input=text, text=True, check=True, capture_output=True, env=variables).stdout
    for word in (
        "--rdzv-endpoint=first:20007",
        "--rdzv-conf=is_host=1,read_timeout=600,",
        "--rdzv-id=7-0",
        "name=it's mine",
    ):
        assert word in found


def test_a_save_is_expected_as_the_last_ones_were_or_by_its_size(tmp_path):
    records = tmp_path / "records.jsonl"
    assert predicted_save_seconds(records, 10**9) == 10
    fields = {"event": "checkpoint", "attempt": 1, "step": 1, "seconds": 1.0}
    records.write_text(json.dumps(fields | {"background_seconds": 3.0}) + "\n")
    assert predicted_save_seconds(records, 10**9) == pytest.approx(6.0)


def test_the_verb_writes_a_file_and_refuses_a_time_that_a_save_would_fill(tmp_path):
    write_run_file(tmp_path / "mine.toml")
    said = run("launch", "slurm", "mine.toml", "train.num_steps=9", "--nodes", "2", cwd=tmp_path)
    assert said.status == 0 and "wrote mine.sbatch" in said.out, said
    text = (tmp_path / "mine.sbatch").read_text()
    assert "train mine.toml train.num_steps=9 --stop-within=" in text
    said = run("launch", "slurm", "mine.toml", "--hours", "0.01", cwd=tmp_path)
    assert said.status == 2 and "a save and the end may take" in said.err
