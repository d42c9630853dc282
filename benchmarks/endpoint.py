"""Load, latency and fuzz of the endpoint, by a run's model.

    python benchmarks/endpoint.py RUN [--requests 1000] [--clients 64] [--fuzzed 100000] [--threads 1]

A server in its own process answers `--clients` clients at once; then one client alone and eight at once, greedy, for
throughput; then streams one by one for the time to the first token. Fuzzed requests go to the application in this
process, valid ones among them, and memory is measured after each tenth of them. The last line is one JSON
object. Every answer must have the status it should have: of the load 200, of the fuzz anything below 500.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import torch

from headwater.page.serve.engine import GenerationEngine
from headwater.page.serve.serving import make_app
from headwater.runs.library.model import Model

PROMPTS = ["The capital of France is", "In the beginning", "Fellow citizens,", "The rain fell, so", "17 + 25 ="]
FUZZED_AT_ONCE = 16


@contextmanager
def server(run: Path, num_threads: int) -> Iterator[str]:
    """Yield the address of a server of its own process."""
    command = [sys.executable, "-m", "headwater", "serve", "--run", str(run), "--port", "0"]
    environment = os.environ | {"OMP_NUM_THREADS": str(num_threads)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        yield process.stdout.readline().split(" at ")[1].strip().rstrip("/")
        process.terminate()
        assert process.wait(30) == 0


def request_body(number: int, max_tokens: int, **more: Any) -> dict[str, Any]:
    return {"prompt": PROMPTS[number % len(PROMPTS)], "max_tokens": max_tokens, "temperature": 0} | more


async def load(address: str, num_requests: int, num_clients: int, max_tokens: int = 32) -> dict[str, Any]:
    """Return seconds, tokens per second and latencies of requests by so many clients, each of which waits its turn."""
    numbers, seconds, tokens = iter(range(num_requests)), [], 0

    async def client(http: httpx.AsyncClient) -> None:
        nonlocal tokens
        for number in numbers:
            started_at = time.perf_counter()
            answer = await http.post("/v1/completions", json=request_body(number, max_tokens, seed=number))
            assert answer.status_code == 200, answer.text
            seconds.append(time.perf_counter() - started_at)
            tokens += answer.json()["usage"]["completion_tokens"]

    limits = httpx.Limits(max_connections=num_clients)
    async with httpx.AsyncClient(base_url=address, timeout=300, limits=limits) as http:
        started_at = time.perf_counter()
        await asyncio.gather(*(client(http) for _ in range(num_clients)))
        taken = time.perf_counter() - started_at
    seconds.sort()
    return {
        "requests": num_requests,
        "clients": num_clients,
        "seconds": round(taken, 1),
        "tokens_per_second": round(tokens / taken, 1),
        "requests_per_second": round(num_requests / taken, 1),
        "median_seconds": round(median(seconds), 3),
        "p99_seconds": round(seconds[int(0.99 * len(seconds))], 3),
    }


def first_token_ms(address: str, repeats: int = 40) -> dict[str, float]:
    """Return the milliseconds until the first text of a stream."""
    found = []
    with httpx.Client(base_url=address, timeout=60) as http:
        for number in range(repeats):
            started_at = time.perf_counter()
            with http.stream("POST", "/v1/completions", json=request_body(number, 8, stream=True)) as answer:
                next(line for line in answer.iter_lines() if line.startswith("data: "))
                found.append(1000 * (time.perf_counter() - started_at))
    found.sort()
    return {"median": round(median(found), 1), "p90": round(found[int(0.9 * len(found))], 1)}


VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2**31, 2**63, 10**40, 1.5, -0.0, 1e308, "", "a", "\0", "河" * 50, "<|im_end|>",
    "x" * 5000, [], [0], [5, 6], [[5], [6, 7]], ["a", "b"], [[]], [None],
    {}, {"role": "user"}, {"type": "text", "text": "a"},
    [{"role": "user", "content": "a"}], [{"role": "user", "content": [{"type": "text", "text": "b"}]}],
    {"include_usage": True},
]  # fmt: skip
FIELDS = [
    "model", "prompt", "messages", "tokens", "max_tokens", "max_completion_tokens", "temperature", "top_p", "n", "seed",
    "stop", "stream", "stream_options", "echo", "logprobs", "top_logprobs", "best_of", "suffix", "tools", "logit_bias",
    "frequency_penalty", "response_format", "user",
]  # fmt: skip
PATHS = ["/v1/completions", "/v1/chat/completions"] * 5 + ["/tokenize", "/detokenize", "/v1/models", "/v1/models/a"]
PATHS += ["/tokenizer_info", "/health", "/v1/%00", "/../etc/passwd"]


def fuzzed(chance: random.Random) -> tuple[str, str, bytes, dict[str, str]]:
    """Return method, path, body and headers of a request that is right in part."""
    path = chance.choice(PATHS)
    body: dict[str, Any] = {}
    if path.endswith("completions"):
        good: dict[str, Any] = {"prompt": chance.choice(PROMPTS)} if "chat" not in path else {}
        body = good or {"messages": [{"role": "user", "content": chance.choice(PROMPTS)}]}
        body["max_tokens"] = chance.choice([0, 1, 2])
    for name in chance.sample(FIELDS, chance.randint(0, 3)):
        body[name] = chance.choice(VALUES)
    text = json.dumps(body).encode()
    kind = chance.random()
    if kind < 0.2:  # bytes changed
        damaged = bytearray(text)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        text = bytes(damaged)
    elif kind < 0.25:
        text = chance.choice(
            [b"", b"[" * 10_000, b"{" * 500, b'{"a":' * 500, chance.randbytes(50), text[: len(text) // 2]]
        )
    elif kind < 0.27:
        text = text.replace(b"1", chance.choice([b"NaN", b"-Infinity", b"1e999", b"9" * 5000]))
    method = "POST" if path.endswith(("completions", "tokenize")) else "GET"
    if chance.random() < 0.05:
        method = chance.choice(["POST", "GET", "DELETE", "PATCH"])
    headers = {"host": "localhost"}
    if chance.random() < 0.02:
        headers |= {
            chance.choice(["host", "origin", "content-length", "cookie"]): chance.choice(
                ["", "x", "\xe9", "-1", "a" * 9999]
            )
        }
    return method, path, text, headers


async def fuzz(run: Path, num_requests: int, seed: int) -> dict[str, Any]:
    """Return how often which status was answered, and the memory after each tenth of the requests."""
    model = Model.load(str(run))
    engine = GenerationEngine(model.transformer, model.tokenizer, model.name, model.is_tuned)
    app, chance, statuses, memory = make_app(run.parent, engine), random.Random(seed), Counter[str](), list[float]()
    numbers = iter(range(num_requests))

    async def client(http: httpx.AsyncClient) -> None:
        for number in numbers:
            method, path, body, headers = fuzzed(chance)
            raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
            answer = await http.request(method, path, content=body, headers=raw)
            statuses[str(answer.status_code)] += 1
            assert answer.status_code < 500, (method, path, body[:1000], answer.text)
            if (number + 1) % (num_requests // 10) == 0:
                memory.append(round(resident_mib(), 1))

    transport = httpx.ASGITransport(app)  # raises what the application raises
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=300) as http:
        started_at = time.perf_counter()
        await asyncio.gather(*(client(http) for _ in range(FUZZED_AT_ONCE)))
        taken = time.perf_counter() - started_at
    engine.close()
    return {
        "requests": num_requests,
        "seconds": round(taken, 1),
        "statuses": dict(sorted(statuses.items())),
        "mib_after_each_tenth": memory,
    }


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--fuzzed", type=int, default=100_000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    found: dict[str, Any] = {"threads": given.threads}
    if given.requests:
        with server(given.run, given.threads) as address:
            asyncio.run(load(address, 8, 8, 8))  # what is computed first takes longer
            found["first_token_ms"] = first_token_ms(address)
            alone, eight = (asyncio.run(load(address, 64, clients, 64)) for clients in (1, 8))
            found["load"] = asyncio.run(load(address, given.requests, given.clients))
        found |= {"one": alone, "eight": eight}
        found["eight_times_faster"] = round(eight["tokens_per_second"] / alone["tokens_per_second"], 2)
    if given.fuzzed:
        found["fuzz"] = asyncio.run(fuzz(given.run, given.fuzzed, given.seed))
    for name, value in found.items():
        print(f"{name:20} {value}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
