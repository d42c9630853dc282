"""Peak memory and seconds of an export to Hugging Face, by the size of the checkpoint's weights.

A checkpoint of random weights is written by the checkpoint writer, in a process of its own; another exports it. Both
folders are removed. The peak is the most resident memory of the exporting process, libraries included, and what it had
before it opened the checkpoint is said beside it.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from headwater.checkpoint.layout import MODEL, checkpoint_dir
from headwater.checkpoint.load import StoredTensors
from headwater.checkpoint.save import Saver
from headwater.export.hf import export_hf
from headwater.host.memory import peak_bytes
from headwater.model.settings import ModelSettings
from headwater.model.transformer import Transformer
from headwater.tokenizer.settings import TokenizerSettings
from headwater.tokenizer.train import train_tokenizer

SIZES = {"vocab_size": 65_536, "d_ff": 5_632, "num_heads": 16, "num_kv_heads": 16, "head_dim": 128, "seq_len": 1_024}


def settings(num_layers: int) -> ModelSettings:
    return ModelSettings(family="qwen3", num_layers=num_layers, d_model=2_048, **SIZES)


def write(folder: Path, num_layers: int) -> None:
    torch.manual_seed(num_layers)
    with torch.device("meta"):
        names = Transformer(settings(num_layers)).state_dict()
    saver = Saver(folder)
    saver.begin(1, {name: torch.randn(tensor.shape) / 50 for name, tensor in names.items()}, {}, {})
    saver.finish()
    saver.close()


def export(folder: Path, num_layers: int) -> dict[str, float]:
    before, started_at = peak_bytes(), time.perf_counter()
    with StoredTensors(checkpoint_dir(folder, 1), MODEL) as stored:
        export_hf(stored, settings(num_layers), folder / "tokenizer", folder / "hf")
    return {"before": before, "peak": peak_bytes(), "seconds": time.perf_counter() - started_at}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, nargs="*", default=[4, 22])
    parser.add_argument("--part", choices=["write", "export"])
    parser.add_argument("--folder", type=Path)
    chosen = parser.parse_args()
    if chosen.part == "write":
        write(chosen.folder, chosen.layers[0])
        return
    if chosen.part == "export":
        print(json.dumps(export(chosen.folder, chosen.layers[0])))
        return
    for num_layers in chosen.layers:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            texts = {"text": ["The river starts at its headwater."] * 9}
            train_tokenizer(texts, TokenizerSettings(vocab_size=310), folder / "tokenizer", "", lambda line: None)
            command = [sys.executable, __file__, "--layers", str(num_layers), "--folder", name, "--part"]
            subprocess.run([*command, "write"], check=True)
            done = subprocess.run([*command, "export"], check=True, capture_output=True, text=True)
            found = json.loads(done.stdout)
            weights = sum(path.stat().st_size for path in (folder / "hf").glob("*.safetensors"))
            files = len(list((folder / "hf").glob("*.safetensors")))
            largest = 4 * SIZES["vocab_size"] * 2_048
        weights_in, peak, before = (f"{size / 1e9:.2f} GB" for size in (weights, found["peak"], found["before"]))
        print(f"{num_layers} layers: weights {weights_in} in {files} file(s), largest tensor {largest / 1e9:.2f} GB")
        print(f"  peak {peak}, {before} of it before; {found['seconds']:.0f} s", flush=True)


if __name__ == "__main__":
    main()
