"""What the first rank does alone may take any time: the others wait for it, and not as long as for a step's exchange."""

from __future__ import annotations

from many_ranks import TRAIN_TINY, on_ranks

from headwater.train.checkpoint.layout import list_checkpoints

STEP_SECONDS, ALONE_SECONDS = 2, 2.7
PROGRAM = f"""
import time
from datetime import timedelta
from headwater.machine.ranks import exchange as module
{TRAIN_TINY}
ranks.leave()
module.STEP_TIMEOUT = timedelta(seconds={STEP_SECONDS})
ranks = join_ranks(place_of(os.environ), device="cpu")
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
end = train_tiny(Slow() if ranks.is_first else CountingEvaluator(), num_steps=4, save_every=2, validate_every=3)
print(json.dumps([end, slow["validate"] <= 0, slow["retain"] <= 0]))
"""


def test_an_evaluation_and_a_save_longer_than_a_steps_time_out_end_no_rank(tmp_path):
    """Takes over 5 s: what it waits for twice must be longer than any step of two processes under load."""
    first, second = on_ranks(2, PROGRAM, tmp_path)
    assert first == [4, True, True], "its evaluation and its retention were the slow ones"
    assert second == [4, False, False]
    assert [step for step, _ in list_checkpoints(tmp_path / "run")] == [4, 3], "the last, and where the decay begins"
