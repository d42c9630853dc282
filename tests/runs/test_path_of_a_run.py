"""The way of `headwater run` through the rooms: whoever follows its first calls goes down, and seldom up again."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

from small_run import environment, write_run_file, write_texts
from test_architecture import ROOMS, lines_of

NUM_CALLS, MOST_CLIMBS, MOST_ROOMS = 400, 8, 15
WALK = f"""
import json, os, sys
import headwater.cli.main as main

root, calls = os.path.dirname(sys.modules["headwater"].__file__) + "/", []

def follow(frame, event, arg):
    name, caller = frame.f_code.co_filename, frame.f_back
    while caller is not None and not caller.f_code.co_filename.startswith(root):
        caller = caller.f_back
    is_class = caller is not None and caller.f_code.co_name == "<module>"
    if event == "call" and name.startswith(root) and not frame.f_code.co_name.startswith("<") and not is_class:
        calls.append(name.removeprefix(root).split("/")[0])
        if len(calls) == {NUM_CALLS}:
            sys.setprofile(None)
            print(json.dumps(calls), flush=True)
            os._exit(0)

sys.argv = ["headwater", "run", "mine.toml"]
sys.setprofile(follow)
main.main()
"""


def test_the_first_calls_of_a_run_climb_seldom_and_enter_few_rooms(tmp_path: Path) -> None:
    write_texts(tmp_path / "texts", num_files=2)
    write_run_file(tmp_path / "mine.toml")
    said = subprocess.run([sys.executable, "-c", WALK], cwd=tmp_path, env=environment(), capture_output=True, text=True)
    rooms = json.loads(said.stdout)
    line = lines_of(ROOMS)  # of the highest room 0
    climbs = [pair for pair in pairwise(rooms) if line[pair[1]] < line[pair[0]]]
    assert len(climbs) <= MOST_CLIMBS, climbs
    assert len(set(rooms)) <= MOST_ROOMS
