"""headwater evaluate --tasks, --write-tasks, --text: anybody's tasks and texts on a finished run."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from small_run import call, environment, require_clear_error

LETTERS = """\
task: letters
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{text}}}}"
doc_to_choice: ["a", " zebra crossing in Quito"]
doc_to_target: 0
metric_list: [{{metric: acc}}]
"""


def test_tasks_of_a_folder_are_scored(finished, tmp_path):
    """The right choice is one token and the other ten: what a model has learned of letters is enough for all items.

    In a process of its own: what keeps lm-eval's libraries offline is read when they are imported.
    """
    pytest.importorskip("lm_eval")
    data = tmp_path / "items.jsonl"
    data.write_text("".join(json.dumps({"text": f"{word} is"}) + "\n" for word in ("What", "It", "There")))
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    (tasks / "letters.yaml").write_text(LETTERS.format(data=data))
    asked = ["headwater", "evaluate", "--run", "runs/mine", "--tasks", str(tasks)]
    program = (
        "import sys; from headwater.cli.main import main\n"
        f"for more in [], ['--limit', '2', '--json']:\n"
        f"    sys.argv = [*{asked!r}, *more]\n"
        "    try: main()\n"
        "    except SystemExit as end: assert not end.code, end\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=finished.cwd, env=environment(), capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert "letters  acc     100.0% (43.9% to 100.0%)      3" in done.stdout
    scores = json.loads(done.stdout.splitlines()[-1])["tasks"]
    assert [(each["task"], each["value"], each["num_items"]) for each in scores] == [("letters", 1.0, 2)]


def test_a_run_without_probes_has_no_tasks_to_write(finished, tmp_path, monkeypatch):
    monkeypatch.setattr("headwater.evaluate.evaluator.RunEvaluator.probe_items", {})
    said = call("evaluate", "--run", "runs/mine", "--write-tasks", str(tmp_path / "tasks"), cwd=finished.cwd)
    require_clear_error(said, "runs/mine has no probes")
    assert not (tmp_path / "tasks").exists()
