"""Ask llama.cpp what it makes of a GGUF file: node-llama-cpp runs it, from a folder that `.ci/run` installs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(os.environ.get("HEADWATER_LLAMA_CPP", Path(__file__).parents[2] / ".llama-cpp"))
PROGRAM = Path(__file__).with_name("llama_cpp.mjs")
TIME_LIMIT = 3600


@dataclass(frozen=True)
class Answer:
    """What llama.cpp says of a file: ids of texts and of conversations; what follows each prompt, and its scores.

    `logits` are (prompts, vocabulary); `ends` says of the end of text and the end of a turn whether each ends a text.
    """

    ids: list[list[int]]
    conversations: list[list[int]]
    continued: list[list[int]]
    logits: np.ndarray
    ends: list[bool]
    begin: int | None


def why_missing() -> str | None:
    """Return why llama.cpp can't be asked here, or None."""
    if shutil.which("node") is None:
        return "needs node"
    if not (FOLDER / "node_modules" / "@node-llama-cpp" / "linux-x64").is_dir():  # which comes last
        return f"needs node-llama-cpp in {FOLDER.name}: make llama-cpp"
    return None


def ask_all(requests: Sequence[dict[str, Any]], scratch: Path) -> list[Answer]:
    """Return the answers to requests of llama_cpp.mjs: file, vocab_size, context, and what is asked.

    Raises RuntimeError where a file can't be opened.
    """
    files = [scratch / f"logits-{number}.bin" for number in range(len(requests))]
    whole = [
        {**request, "file": str(Path(request["file"]).resolve()), "logits_file": str(file)}
        for request, file in zip(requests, files)
    ]
    command = ["node", str(PROGRAM), str(FOLDER)]
    done = subprocess.run(command, input=json.dumps(whole), capture_output=True, text=True, timeout=TIME_LIMIT)
    if done.returncode:
        raise RuntimeError(f"llama.cpp can't open {whole[0]['file']}, or one after it: {done.stderr[-2000:]}")
    logits = [np.fromfile(file, dtype=np.float32) for file in files]
    return [
        Answer(**found, logits=each.reshape(-1, request["vocab_size"]))
        for found, each, request in zip(json.loads(done.stdout), logits, requests)
    ]
