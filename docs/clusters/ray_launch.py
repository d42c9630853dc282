"""Start a run on the nodes of a Ray cluster: python ray_launch.py NODES GPUS_PER_NODE mine.toml

One launcher a node, beside Ray's own workers; Ray starts again what was lost with its node. Call it on the node that
the launchers are to meet at, in a folder that all nodes see.
"""

import os
import subprocess
import sys

import ray
from ray.util import get_node_ip_address
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

PORT = 29400


def launch(folder: str, nodes: int, ranks: int, first: str, is_host: bool, run: list[str]) -> None:
    conf = f"is_host={int(is_host)},read_timeout=600,join_timeout=1200"
    meeting = f"--rdzv-backend=c10d --rdzv-id=headwater --rdzv-endpoint={first}:{PORT} --rdzv-conf={conf}"
    launcher = [sys.executable, "-m", "torch.distributed.run", f"--nnodes=1:{nodes}", f"--nproc-per-node={ranks}"]
    options = ["--max-restarts=100", *meeting.split(), f"--local-addr={get_node_ip_address()}"]
    later = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}  # else torch 2.13 can't let a launcher that comes later join
    command = [*launcher, *options, "-m", "headwater", "train", *run]
    subprocess.run(command, cwd=folder, check=True, env=os.environ | later)


def main(nodes: int, gpus: int, run: list[str], folder: str) -> None:
    ray.init()
    first, here = get_node_ip_address(), ray.get_runtime_context().get_node_id()
    needs = {"num_gpus": gpus, "num_cpus": 1, "max_retries": 100}
    host = ray.remote(launch).options(**needs, scheduling_strategy=NodeAffinitySchedulingStrategy(here, soft=False))
    others = ray.remote(launch).options(**needs, scheduling_strategy="SPREAD")
    work = [host.remote(folder, nodes, max(1, gpus), first, True, run)]
    work += [others.remote(folder, nodes, max(1, gpus), first, False, run) for _ in range(nodes - 1)]
    ray.get(work)


if __name__ == "__main__":
    from pathlib import Path

    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:], str(Path.cwd()))
