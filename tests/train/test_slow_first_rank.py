"""What the first rank does alone may take any time: the others wait for it, and not as long as for a step's exchange."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from many_ranks import start_programs
from small_run import finish

from headwater.train.checkpoint.layout import list_checkpoints

STEP_SECONDS, ALONE_SECONDS = 2, 2.7
PROGRAM = f"""
import json, os, sys, time
from datetime import timedelta
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
import torch
from headwater.train.checkpoint import save
from headwater.machine.ranks import exchange as module
from headwater.machine import compute as machine
from headwater.machine.ranks.place import place_of
from headwater.machine.ranks.rendezvous import join_ranks
from headwater.machine.host.signals import StopRequest
from headwater.train.start import assemble, past_to_resume
from headwater.train.loop import train
from tiny_run import CountingEvaluator, MadeUpRows, plan

torch.set_num_threads(1)
module.STEP_TIMEOUT = timedelta(seconds={STEP_SECONDS})
machine.matmul_peaks = lambda device, dtypes: dict.fromkeys(dtypes, 1e11)
slow = {{"validate": 1, "retain": 1}}

def wait(what):
    slow[what] -= 1
    if slow[what] == 0:
        time.sleep({ALONE_SECONDS})

class Slow(CountingEvaluator):
    def validate(self, model, forward):
        wait("validate")
        return super().validate(model, forward)

retain_newest = save.retain_newest
save.retain_newest = lambda *arguments: (wait("retain"), retain_newest(*arguments))
ranks = join_ranks(place_of(os.environ), device="cpu")
settings = plan(num_steps=4, save_every=2, validate_every=3, num_probes=0)
folder, rows = Path("run"), MadeUpRows()
past = past_to_resume(folder, settings, rows, print, ranks=ranks)
run = assemble(folder, settings, rows, past, lambda line: None, ranks=ranks)
end = train(run, Slow() if ranks.is_first else CountingEvaluator(), lambda record: None, StopRequest())
run.records.close()
print(json.dumps([end.step, slow["validate"] <= 0, slow["retain"] <= 0]))
sys.stdout.flush()
ranks.wait()
os._exit(0)
"""


@pytest.mark.slow
def test_an_evaluation_and_a_save_longer_than_a_steps_time_out_end_no_rank(tmp_path):
    """Takes over 5 s: what it waits for twice must be longer than any step of two processes under load."""
    said = [finish(process) for process in start_programs([PROGRAM] * 2, tmp_path)]
    assert all(one.status == 0 for one in said), "\n".join(map(str, said))
    first, second = (json.loads(one.out) for one in said)
    assert first == [4, True, True], "its evaluation and its retention were the slow ones"
    assert second == [4, False, False]
    assert [step for step, _ in list_checkpoints(tmp_path / "run")] == [4, 3], "the last, and where the decay begins"
