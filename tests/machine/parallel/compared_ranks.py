"""Programs of ranks that are compared with one rank, by the cases of `make parity`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from many_ranks import on_ranks

from headwater.machine.ranks.mesh import Mesh

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
PARITY = f"""
sys.path.insert(0, {str(BENCHMARKS)!r})
import parity
from parity import Case, compare, faults_of
from headwater.model.kernels.library import kernels_work

kernels = kernels_work(16)[0]
parity.ROWS = max(4, 2 * ranks.part_of_rows[1])  # two microbatches or more for each rank
"""
COMPARED = """
found = {"compared": [[str(case), *compare(case, ranks, 2)] for case in cases]}
"""
WITH_FAULTS = """
chosen = {name: fault.case for name, fault in faults_of(ranks.mesh).items() if kernels or not fault.case.kernels}
found["faults"] = {name: compare(case, ranks, 2, name)[1] for name, case in chosen.items()}
"""
DIVIDED = """
from functools import partial
from headwater.machine.device.device import Device
from headwater.evaluate.bits_per_byte import measure_surprise
from headwater.evaluate.scorer import Scorer
from headwater.model.init import drawn, initialise_
from headwater.model.transformer import Transformer
from headwater.model.optim.settings import OptimSettings
from headwater.model.optim.update_rules import PlainUpdates
from headwater.machine.parallel.data_parallel import DataParallel
from headwater.machine.ranks.exchange import local
from headwater.machine.parallel.prepare import optimizer_for, prepare
from parity import RATES, rows, wholes

MODEL = parity.model_for(ranks.mesh)
parallel = DataParallel(ranks, Device())
prepared = prepare(partial(Transformer, MODEL), lambda model: model, drawn(MODEL, 3), parallel)
model, fast = prepared.model, prepared.fast_model
"""
STATE = """
alone = Transformer(MODEL)
initialise_(alone, 3)
optimizer = optimizer_for(model, OptimSettings(weight_decay=0.1, **RATES), torch.float32, PlainUpdates(), parallel)
batches, token_bytes = [rows(0, first, 3) for first in (0, 1, 2)], torch.arange(MODEL.vocab_size).numpy() % 4
one = measure_surprise(Scorer(alone), batches, token_bytes)
many = measure_surprise(Scorer(prepared.measured, ranks, prepared.hidden), batches, token_bytes)
found["state"] = {
    "alike": all(
        torch.equal(value, dict(alone.named_parameters())[name])
        for name, value in wholes(dict(model.named_parameters()), MODEL, ranks).items()
    ),
    "buffer": torch.equal(model.rotary_2TP, alone.rotary_2TP),
    "weights": sum(local(parameter).numel() for parameter in model.parameters()),
    "state": sum(local(tensor).numel() for tensor in optimizer.state_tensors().values()),
    "all weights": sum(parameter.numel() for parameter in alone.parameters()),
    "all state": sum(s[0] * (s[1] if len(s) > 1 else 1) for s in [
        p.shape for part in optimizer._parts for n in part.names for _ in part.slots for p in [part.group.parameters[n]]
    ]),
    "surprise": [one.nats, many.nats],
    "prompts": [
        [scorer.loglikelihood([([5, 6, 7], [8] * 9)]).tolist(), scorer.next_logits([3] * 13).tolist(), scorer.target_losses([4] * 14).tolist()]
        for scorer in (Scorer(alone), Scorer(prepared.measured, ranks, prepared.hidden))
    ],
}
"""


def of_all(mesh: Mesh, folder: Path, cases: str, *programs: str) -> list[dict[str, Any]]:
    """Return what each rank finds, cases compared first; one start of the ranks serves several tests."""
    joined = f"from headwater.machine.ranks.mesh import Mesh\nranks.leave(); ranks = join_ranks(place_of(os.environ), {mesh!r}, None, device='cpu')\n"
    return on_ranks(
        mesh.world_size, "".join([joined, PARITY, cases, COMPARED, *programs, "print(json.dumps(found))\n"]), folder
    )
