"""What a start reads and holds: a checkpoint on one rank and on four that share it, and the text of a long run.

    python benchmarks/start_up.py [--parameters 1e9] [--tokens 1e9] [--folder FOLDER]

Every rank fills its rows of each tensor of a model in blocks, with one moment for each weight. Reported for each rank:
bytes read beside its share of the state, and the most memory beside that state. Of the text: seconds of a first start,
which verifies the store and packs it, and of a later one. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing
from torch import Tensor

from headwater.batches.rows import build_rows, open_packed, rows_key
from headwater.checkpoint.checked_file import SummedFile
from headwater.checkpoint.layout import FORMAT, FORMAT_VERSION, KINDS, STATE_FILE, sums_file, tensor_file
from headwater.checkpoint.load import load_state_
from headwater.checkpoint.shards import Piece, state_digest, table_of
from headwater.checkpoint.tensor_file import write_tensors
from headwater.files import DigestedFile, digest_json, write_json
from headwater.seals import seal
from headwater.tokens.format import TOKENS_FORMAT, TOKENS_VERSION
from headwater.tokens.write import EncodedDocument, write_store

WIDTH, VOCABULARY, SEQ_LEN, DOCUMENT_TOKENS = 2048, 50_304, 2048, 1000


def shapes(num_parameters: int) -> dict[str, tuple[int, int]]:
    """Return the matrices of a Llama of width 2048 with as many layers as give this many parameters."""
    layer = {"qkv": (3 * WIDTH, WIDTH), "out": (WIDTH, WIDTH), "up": (8 * WIDTH, WIDTH), "down": (WIDTH, 4 * WIDTH)}
    num_layers = round((num_parameters - VOCABULARY * WIDTH) / sum(a * b for a, b in layer.values()))
    named = {f"blocks.{n}.{name}": shape for n in range(num_layers) for name, shape in layer.items()}
    return {"embed": (VOCABULARY, WIDTH), **named}


def write_checkpoint(folder: Path, num_parameters: int) -> None:
    """Write a checkpoint of one rank, one kind of tensor after the other, so that half of it is in memory at a time."""
    path, files, tensors = folder / "step-000000001", {}, {}
    path.mkdir(parents=True)
    for kind in KINDS:
        name = tensor_file(kind, 0, 1)
        made = {key: torch.full(shape, 0.5) for key, shape in shapes(num_parameters).items()}
        with SummedFile(path / name) as file:
            write_tensors(file, made)
        with DigestedFile(sums_file(path / name)) as sums:
            sums.write(file.sums())
        files |= {name: file.facts(), sums_file(path / name).name: sums.facts()}
        tensors |= table_of((Piece(f"{kind}.{k}", (0, 0), tuple(t.shape), t), name) for k, t in made.items())
        del made
    with DigestedFile(path / STATE_FILE) as file:
        file.write(b"{}")
    manifest = {"format": FORMAT, "format_version": FORMAT_VERSION, "step": 1, "world_size": 1}
    manifest |= {"files": files | {STATE_FILE: file.facts()}, "tensors": tensors, "state_digest": state_digest(tensors)}
    write_json(path / "manifest.json", seal(manifest))


def status(field: str, file: str = "status") -> int:
    """Return a number of bytes that the system says of this process."""
    lines = Path(f"/proc/self/{file}").read_text(encoding="ascii").splitlines()
    words = next(line for line in lines if line.startswith(f"{field}:")).split()
    return int(words[1]) * (1024 if words[-1] == "kB" else 1)


def load(rank: int, world_size: int, folder: Path, num_parameters: int) -> None:
    """Load this rank's part of the checkpoint, and leave what it took in a file."""
    from torch.distributed.tensor import DeviceMesh, Shard, distribute_tensor

    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    store = dist.FileStore(str(folder / f"store-{world_size}"), world_size)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world_size)
    torch.set_num_threads(1)
    mesh = DeviceMesh("cpu", list(range(world_size)))

    def part(shape: tuple[int, int]) -> Tensor:
        from torch.distributed.tensor import DTensor

        local = torch.empty(shape[0] // world_size + (rank < shape[0] % world_size), shape[1])
        return DTensor.from_local(local, mesh, [Shard(0)], shape=torch.Size(shape), stride=(shape[1], 1))

    distribute_tensor(torch.zeros(world_size), mesh, [Shard(0)])  # what a first use allocates
    model, optim = ({name: part(shape) for name, shape in shapes(num_parameters).items()} for _ in KINDS)
    share = sum(4 * tensor.to_local().numel() for tensor in (*model.values(), *optim.values()))
    read, held, started_at = status("rchar", "io"), status("VmRSS"), time.perf_counter()
    load_state_(folder / "step-000000001", model, optim)
    found = {
        "share_bytes": share,
        "read_over_share": round((status("rchar", "io") - read) / share, 4),
        "memory_over_share": round((status("VmHWM") - held) / share, 4),
        "seconds": round(time.perf_counter() - started_at, 1),
        "is_right": all(bool((t.to_local() == 0.5).all()) for t in (*model.values(), *optim.values())),
    }
    (folder / f"rank-{rank}-of-{world_size}.json").write_text(json.dumps(found), encoding="utf-8")
    dist.destroy_process_group()


def of_checkpoint(folder: Path, num_parameters: int) -> dict[str, Any]:
    write_checkpoint(folder, num_parameters)
    found: dict[str, Any] = {"parameters": num_parameters}
    for world_size in (1, 4):
        torch.multiprocessing.spawn(load, (world_size, folder, num_parameters), nprocs=world_size)
        names = [folder / f"rank-{rank}-of-{world_size}.json" for rank in range(world_size)]
        found[f"{world_size} ranks"] = [json.loads(name.read_text(encoding="utf-8")) for name in names]
        print(world_size, "ranks:", found[f"{world_size} ranks"], flush=True)
    return found


def of_text(folder: Path, num_tokens: int) -> dict[str, Any]:
    random, tokens, rows = np.random.default_rng(0), folder / "tokens", folder / "rows"
    ids = random.integers(32, VOCABULARY, DOCUMENT_TOKENS - 2, dtype=np.uint16)
    documents = (EncodedDocument(ids, 4000, f"document {number}") for number in range(num_tokens // DOCUMENT_TOKENS))
    store = write_store(tokens / "train" / "a", documents, VOCABULARY, "t")
    splits = {"train": {"a": {"digest": store["digest"], "num_documents": store["num_documents"]}}, "validation": {}}
    digest = digest_json(splits)
    facts = {"format": TOKENS_FORMAT, "format_version": TOKENS_VERSION, "digest": digest, "splits": splits}
    write_json(tokens / "manifest.json", seal(facts))
    seconds = {}
    for name, work in (
        ("verified and packed in memory", lambda: open_packed(tokens, rows, "train", SEQ_LEN)),
        ("first start", lambda: build_rows(tokens, rows, SEQ_LEN, rows_key(digest, SEQ_LEN))),
        ("later start", lambda: open_packed(tokens, rows, "train", SEQ_LEN)),
    ):
        started_at, read = time.perf_counter(), status("rchar", "io")
        work()
        seconds[name] = {
            "seconds": round(time.perf_counter() - started_at, 3),
            "bytes_read": status("rchar", "io") - read,
        }
    return {"tokens": num_tokens, **seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parameters", type=float, default=1e9)
    parser.add_argument("--tokens", type=float, default=1e9)
    parser.add_argument("--folder", type=Path, default=None, help="where the files lie meanwhile")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        found = {"text": of_text(Path(folder) / "text", int(chosen.tokens))}
        print(found["text"], flush=True)
        found["checkpoint"] = of_checkpoint(Path(folder), int(chosen.parameters))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
