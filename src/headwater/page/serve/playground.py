"""The playground: what models of the runs here expect next, write and are surprised by, and what their text says of it.

Prompts, model output and documents are text of anybody's: they go out as JSON alone, with what could steer a reader's
display as escapes, and the page's script puts them into text nodes. Text to continue or to add goes out as it is: the
page puts that into its text field alone.
"""

from __future__ import annotations

import json
import threading
from asyncio import Semaphore
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import BaseRoute, Route

from headwater.core.files import read_json_or_none
from headwater.core.numbers import size
from headwater.core.printable import printable
from headwater.core.records import table
from headwater.machine.host.facts import memory_bytes
from headwater.machine.host.memory import available_bytes
from headwater.model.count import count_parameters
from headwater.page.serve.guard import Refusal
from headwater.page.serve.requests import Body, ReleasingStream, question_route, read_body
from headwater.runfile.run_config import config_of_run
from headwater.runs.summary import RunsFolder, RunSummary
from headwater.train.checkpoint.layout import checkpoint_dir, list_checkpoints

if TYPE_CHECKING:
    from headwater.evaluate.generate import NextToken
    from headwater.runs.library.model import Model

T = TypeVar("T")

MAX_CHARACTERS = 20_000  # of a text; of one in English about 5,000 tokens
MAX_FOUND_CHARACTERS = 500  # of a text to find
MAX_HITS = 20
MAX_CORPUS_BYTES = 2e9  # of documents: a search reads all of them, about 50 MB a second
BYTES_PER_WEIGHT = 4
MAX_MODELS = 3  # kept in memory: two side by side, and one before
MAX_MODELS_SHARE = 0.25  # of the machine's memory that kept models take together, where there are several
MAX_FREE_SHARE = 0.5  # of the memory that is free, which a model may take: it is used by others, and grows
MAX_WORKERS = 2  # requests that compute at the same time; others wait
MAX_STREAMS = 8  # texts that are written at once: each has a cache of its own


class RunQuestion(Body):
    """What is asked about a run; a field of another name is a mistake."""

    model_config = ConfigDict(extra="forbid")

    run: str = Field(max_length=255)


class ModelQuestion(RunQuestion):
    """A question to the model of one checkpoint."""

    step: int
    text: str = Field(max_length=MAX_CHARACTERS)
    temperature: float = Field(default=1.0, ge=0, le=5)
    seed: int = Field(default=0, ge=0, lt=2**31)
    k: int = Field(default=12, ge=1, le=100)
    max_tokens: int = Field(default=60, ge=1, le=500)


class TextQuestion(RunQuestion):
    """A question to the corpus of a run: what holds this text?"""

    text: str = Field(min_length=1, max_length=MAX_FOUND_CHARACTERS)


class Models:
    """The models of the runs in a folder: loaded when one is first asked, the last few kept.

    first   the folder of the run that is listed first; else the one that was heard of last
    """

    def __init__(self, runs: RunsFolder, first: Path | None = None) -> None:
        self._runs, self._lock = runs, threading.Lock()
        self._first = None if first is None else first.resolve()
        self._max_bytes = MAX_MODELS_SHARE * memory_bytes()
        self._kept: OrderedDict[tuple[str, int, int], Model] = OrderedDict()

    def runs(self) -> list[tuple[RunSummary, list[int]]]:
        """Return the runs that keep checkpoints, and their steps, each newest first."""
        summaries = sorted(self._runs.summaries(), key=lambda run: run.folder.resolve() != self._first)
        found = [(run, [step for step, _ in list_checkpoints(run.folder)]) for run in summaries]
        return [(run, steps) for run, steps in found if steps]

    def get(self, run: str, step: int) -> Model:
        from headwater.runs.library.model import Model

        folder = self._runs.run_dir(run)
        if step not in {kept for kept, _ in list_checkpoints(folder)}:
            raise Refusal(404, f"{run} keeps no checkpoint of step {step}", "step")
        key = run, step, checkpoint_dir(folder, step).stat().st_mtime_ns  # a run that is made again has others
        with self._lock:  # one is loaded at a time
            if key not in self._kept:
                self._make_room(BYTES_PER_WEIGHT * count_parameters(config_of_run(folder).model).total, run)
                self._kept[key] = Model.load(folder, step)
            self._kept.move_to_end(key)
            return self._kept[key]

    def _make_room(self, num_bytes: int, run: str) -> None:
        """Drop the models that were asked longest ago; raise Refusal for one that is too large for this machine."""
        while self._kept and (
            len(self._kept) >= MAX_MODELS or num_bytes + sum(map(_num_bytes, self._kept.values())) > self._max_bytes
        ):
            self._kept.popitem(last=False)
        if num_bytes > MAX_FREE_SHARE * (free := available_bytes()):
            raise Refusal(
                422,
                f"the model of {run} takes {size(num_bytes)}, and {size(free)} of memory are free; the playground "
                "opens what fits into half of that, and `headwater next` in a terminal needs no more than the model",
                "run",
            )


def _prompt_set(run: RunSummary) -> str:
    """Return the first prompt of a run's settings; "" of one that continues its own text."""
    prompts = table(read_json_or_none(run.folder / "config.json"), "settings", "train").get("prompts")
    return str(prompts[0]) if isinstance(prompts, list) and prompts else ""


def _num_bytes(model: Model) -> int:
    return sum(parameter.nbytes for parameter in model.transformer.parameters())


class Playground:
    """The answers of the playground's routes; what computes does so in threads, a few at a time."""

    def __init__(self, runs: RunsFolder, first: Path | None = None) -> None:
        self._runs, self._models, self._workers = runs, Models(runs, first), Semaphore(MAX_WORKERS)
        self._streams = Semaphore(MAX_STREAMS)

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/playground/models", self.models),
            Route("/playground/write", self.write, methods=["POST"]),
            question_route("/playground/next", ModelQuestion, self.next, self._workers),
            question_route("/playground/surprise", ModelQuestion, self.surprise, self._workers),
            question_route("/playground/trace", TextQuestion, self.trace, self._workers),
        ]

    async def _compute(self, work: Callable[[], T]) -> T:
        async with self._workers:
            return await run_in_threadpool(work)

    async def models(self, request: Request) -> JSONResponse:
        runs = [
            {
                "run": run.name,
                "shown": printable(run.name),
                "steps": steps,
                "prompt": (run.prompt or _prompt_set(run))[:MAX_CHARACTERS],
            }
            for run, steps in await self._compute(self._models.runs)
        ]
        return JSONResponse({"runs": runs})

    def next(self, question: ModelQuestion) -> dict[str, Any]:
        model = self._models.get(question.run, question.step)
        found = model.next(question.text, question.k, question.temperature)
        return {"tokens": [_shown_token(model, each) for each in found]}

    def surprise(self, question: ModelQuestion) -> dict[str, Any]:
        found = self._models.get(question.run, question.step).surprise(question.text)
        tokens = [{"shown": printable(each.token, keep="\n\t"), "bits": each.bits} for each in found.tokens]
        return {"bits_per_byte": found.bits_per_byte, "tokens": tokens}

    async def write(self, request: Request) -> StreamingResponse:
        """Stream what the model writes after a text, a line of JSON a token."""
        question = await read_body(ModelQuestion, request)
        if self._streams.locked():
            busy = f"{MAX_STREAMS} texts are being written, and no more at once; ask again when one is done"
            raise Refusal(429, busy, headers={"Retry-After": "2"})
        await self._streams.acquire()
        try:
            model = await self._compute(partial(self._models.get, question.run, question.step))
            pieces = model.stream(question.text, question.max_tokens, question.temperature, seed=question.seed)
        except BaseException:
            self._streams.release()
            raise

        async def lines() -> AsyncIterator[bytes]:
            while (piece := await self._compute(partial(next, pieces, None))) is not None:
                yield json.dumps({"text": piece.text, "end": piece.end}).encode() + b"\n"

        return ReleasingStream(lines(), "application/x-ndjson", self._streams.release)

    def trace(self, question: TextQuestion) -> dict[str, Any]:
        from headwater.runs.library.corpus import Corpus

        corpus = Corpus(self._runs.run_dir(question.run))
        if (num_bytes := sum(count.bytes for count in corpus.counts())) > MAX_CORPUS_BYTES:
            raise Refusal(
                422,
                f"the text has {num_bytes:,} bytes, too many to search while a page waits; "
                f"`headwater corpus trace {question.run} TEXT` does it",
            )
        hits = list(islice(corpus.trace(question.text), MAX_HITS + 1))
        shown = [
            {"split": hit.split, "count": hit.count}
            | {name: printable(getattr(hit, name)) for name in ("source", "id", "excerpt")}
            for hit in hits[:MAX_HITS]
        ]
        return {"hits": shown, "has_more": len(hits) > MAX_HITS}


def _shown_token(model: Model, token: NextToken) -> dict[str, Any]:
    """Return a token as it is shown; `text` is what a click adds, None of one that is no text by itself."""
    is_text = token.token not in model.tokenizer.special and "\ufffd" not in token.token
    text = token.token if is_text else None
    return {"shown": printable(token.token), "text": text, "probability": token.probability}
