"""What computes here and how fast it multiplies and copies, as one JSON line: in a process that then leaves the GPU."""

from __future__ import annotations

import json
import os

import torch

from headwater.machine.device.device import device_of, matmul_peaks, memory_bandwidth
from headwater.plan.forecast.device import device_of_driver, read_devices

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def main() -> None:
    name = "cuda" if torch.cuda.is_available() else "cpu"
    device, torch_device = device_of(name), torch.device(name)
    known = device_of_driver(device.name, read_devices()) if name == "cuda" else None
    found = matmul_peaks(torch_device, list(DTYPES.values()))
    facts = {
        "device": name,
        "name": device.name,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cores": os.cpu_count(),
        "memory_bytes": device.memory_bytes(),
        "sheet_flops": known and known.bf16_flops,
        "peak_flops": {label: found[dtype] for label, dtype in DTYPES.items()},
        "bytes_per_second": memory_bandwidth(torch_device),
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
