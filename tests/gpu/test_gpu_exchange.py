"""NCCL, by one process on one GPU: every exchange gives back what one rank gives."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import json
import torch
import torch.distributed as dist
from headwater.machine.device.device import Gpu
from headwater.machine.parallel.data_parallel import DataParallel
from headwater.machine.ranks.exchange import ManyRanks
from headwater.machine.ranks.mesh import Place

torch.cuda.set_device(0)
dist.init_process_group("nccl", store=dist.HashStore(), rank=0, world_size=1)
ranks = ManyRanks(Place())
mixed = [torch.full((3, 2), 2.0), torch.full((2,), 5), torch.full((1,), 0.5)]
mixed = [tensor.cuda() for tensor in mixed]
ranks.sum_tensors_(mixed)
ranks.share_([mixed])
ranks.wait()
parallel = DataParallel(ranks, Gpu())
loss, norm = torch.tensor(0.75, dtype=torch.float64, device="cuda"), torch.tensor(0.25, device="cuda")
torch.cuda.set_sync_debug_mode("error")
total = ranks.sum_(torch.full((), 7, dtype=torch.int64, device="cuda"))
torch.cuda.set_sync_debug_mode("default")
sums = parallel.read(loss, norm, total, [True, False])
found = [tensor.flatten().tolist() for tensor in mixed], ranks.gather({"text": "é"}), ranks.from_first([1])
print(json.dumps([*found, [sums.loss, sums.norm, sums.num_targets, sums.flags]]))
ranks.leave()
"""


def test_exchanges_by_nccl_arrive_whole():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found[0] == [[2.0] * 6, [5] * 2, [0.5]]
    assert found[1:] == [[{"text": "é"}], [1], [0.75, 0.25, 7, [True, False]]]
