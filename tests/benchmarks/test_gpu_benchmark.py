"""`make gpu` without a GPU: the program makes all its checks at toy sizes, and says of each what it found or why not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_run import write_run_file, write_texts
from test_throughput import PEER

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PROGRAM = BENCHMARKS / "gpu" / "first_hour.py"


@pytest.fixture
def programs(monkeypatch):
    """Let a test import what stands beside the program, as the program does."""
    for folder in (BENCHMARKS, BENCHMARKS / "gpu"):
        monkeypatch.syspath_prepend(str(folder))


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """All checks on the processor, with a peer that can't learn; and where they lie."""
    folder = tmp_path_factory.mktemp("gpu")
    write_texts(folder / "texts")
    recipe = write_run_file(folder / "tiny.toml")
    (folder / "text.txt").write_text("".join(f"the number {n} comes before the number {n + 1}\n" for n in range(4000)))
    (folder / "peer").mkdir()
    (folder / "peer" / "model.py").write_text(PEER.replace("cross_entropy(logits", "no_such_loss(logits"))
    arguments = ["--device", "cpu", "--toy", "--recipe", recipe, "--steps", "24", "--text", folder / "text.txt"]
    arguments += ["--peer", f"nanoGPT={folder / 'peer'}", "--out", folder / "out"]
    python = os.pathsep.join([str(BENCHMARKS.parent / "src"), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"TORCHDYNAMO_DISABLE": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": python}
    command = [sys.executable, PROGRAM, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, env=environment, cwd=folder)
    return done, folder / "out"


def test_every_check_is_made_and_one_that_fails_says_why_and_ends_no_other(made):
    done, out_dir = made
    found = json.loads((out_dir / "result.json").read_text())["checks"]
    status = {name: one["status"] for name, one in found.items()}
    peer = status.pop("toy, nanoGPT")
    assert set(status.values()) == {"ok"}, status
    assert peer.startswith("failed: ") and "no_such_loss" in peer, peer
    assert done.returncode == 1, "a check failed"
    assert "skipped" in found["tests/gpu"]["result"]
    assert found["killed and resumed"]["result"] == "the same bits"
    assert 6 <= found["killed and resumed"]["resumed_at"] < 24
    assert found["generation"]["num_tokens"] == 40
    speed = found["toy, headwater"]
    assert speed["learns"] and speed["mode"] == "bfloat16"
    assert 0.3 < speed["memory_bytes"] / speed["forecast_bytes"] < 3
    # by its own definition, of the peak that the first check measured
    fraction = speed["tokens_per_second"] * speed["flops_per_token"] / found["machine"]["peak_flops"]["bfloat16"]
    assert speed["mfu_measured"] == pytest.approx(fraction, rel=1e-4)


def test_the_table_has_a_line_for_every_check(made):
    done, out_dir = made
    table = (out_dir / "table.md").read_text()
    assert table.strip() in done.stdout
    for name in json.loads((out_dir / "result.json").read_text())["checks"]:
        (line,) = [line for line in table.splitlines() if line.startswith(f"| {name} |")]
        assert len(line) > len(name) + 10


def test_a_loss_that_is_further_off_than_rounding_fails(programs):
    from training import compared

    expected = [6.0 - 0.1 * step for step in range(40)]
    assert compared([loss + 0.001 for loss in expected], expected)["last_difference"] == pytest.approx(0.001)
    for wrong in ([6.02, *expected[1:]], [*expected[:-4], *(loss + 0.05 for loss in expected[-4:])]):
        with pytest.raises(ValueError, match=r"allowed are"):
            compared(wrong, expected)
    with pytest.raises(ValueError, match="nan"):
        compared([*expected[:-1], float("nan")], expected)


def test_a_check_that_takes_too_long_ends_with_all_that_it_started(programs, tmp_path):
    from first_hour import CheckFailed, run_program

    mark = tmp_path / "alive"
    child = f"import time, pathlib; time.sleep(1.5); pathlib.Path({str(mark)!r}).touch()"
    program = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with pytest.raises(CheckFailed, match="not done after 1 s"):
        run_program([sys.executable, "-c", program], 1)
    subprocess.run([sys.executable, "-c", "import time; time.sleep(1.5)"], check=True)
    assert not mark.exists(), "what it had started went on"


def test_a_microbatch_that_does_not_fit_has_half_the_rows(programs, monkeypatch, tmp_path, capsys):
    import trainer_speed as speed

    def measured(job, modes, logs_dir):
        is_too_large = job.shape.rows > 2
        return {"status": "failed: OutOfMemoryError: CUDA out of memory" if is_too_large else "ok"}

    monkeypatch.setattr(speed, "write_tokens", lambda *given: None)
    monkeypatch.setattr(speed, "read_text", lambda path: [])
    monkeypatch.setattr(speed, "measured", measured)
    speed.main("2,2,64,64,300,8 × 4 microbatches", "headwater", "bfloat16", "", str(tmp_path))
    assert json.loads(capsys.readouterr().out) == {"status": "ok", "microbatch_tokens": 2 * 64}
